//go:build !linux

package augment

import "time"

var started = time.Now()

// threadSeconds is wall time, where a thread's processor time is not known.
func threadSeconds() float64 { return time.Since(started).Seconds() }
