//go:build !linux && !darwin

package finetune

// peakMemory returns 0: unknown.
func peakMemory() int64 { return 0 }
