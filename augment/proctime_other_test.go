//go:build !unix

package augment

import "time"

var started = time.Now()

// processTime is the time since the start, where processor time is not at hand.
func processTime() time.Duration { return time.Since(started) }
