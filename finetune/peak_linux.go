package finetune

import (
	"bytes"
	"fmt"
	"os"
)

// peakMemory returns the largest resident size of this process in bytes, 0 if it is
// unknown. What getrusage tells on Linux includes the parent's size before exec.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		var kb int64
		if _, err := fmt.Sscanf(string(line), "VmHWM: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	return 0
}
