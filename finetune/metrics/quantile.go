package metrics

import "slices"

// Quantile returns the q-quantile of x, 0 <= q <= 1, with linear interpolation between
// the two values beside it, as NumPy's default (Hyndman and Fan, 1996, "Sample quantiles
// in statistical packages", definition 7). Quantile(x, 0.5) is the median. x has one
// value or more, none of them NaN, in any order; it is left as it is.
func Quantile(x []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(x))
	at := q * float64(len(s)-1)
	lo := int(at)
	if at == float64(lo) {
		return s[lo] // what is beside it may be infinite
	}
	return s[lo] + (at-float64(lo))*(s[lo+1]-s[lo])
}
