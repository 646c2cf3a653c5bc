package export

// mersenne is the generator MT19937 (Matsumoto and Nishimura, 1998), which ONNX's
// reference implementation draws Dropout's masks with.
type mersenne struct {
	state [624]uint32
	at    int
}

func newMersenne(seed uint32) *mersenne {
	m := &mersenne{at: len(mersenne{}.state)}
	for i := range m.state {
		m.state[i] = seed
		seed = 1812433253*(seed^seed>>30) + uint32(i) + 1
	}
	return m
}

func (m *mersenne) uint32() uint32 {
	n := len(m.state)
	if m.at == n {
		for i := range m.state {
			y := m.state[i]&0x80000000 | m.state[(i+1)%n]&0x7fffffff
			m.state[i] = m.state[(i+397)%n] ^ y>>1
			if y&1 == 1 {
				m.state[i] ^= 0x9908b0df
			}
		}
		m.at = 0
	}
	y := m.state[m.at]
	m.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// float64 is uniform in [0, 1), with 53 bits.
func (m *mersenne) float64() float64 {
	a, b := m.uint32()>>5, m.uint32()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53)
}
