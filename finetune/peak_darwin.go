package finetune

import "syscall"

// peakMemory returns the largest resident size of this process in bytes, 0 if it is
// unknown.
func peakMemory() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Maxrss
}
