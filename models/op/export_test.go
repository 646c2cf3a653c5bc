package op

// SetHashBits cuts the hashes that must be unique to so many bits, 32 being all
// of them, and returns what undoes it.
func SetHashBits(bits int) (undo func()) {
	was := hashMask
	hashMask = uint32(1<<bits - 1)
	return func() { hashMask = was }
}
