//go:build !unix

package augment

import "time"

// processTime is wall time, as [threadSeconds] is here.
func processTime() time.Duration { return time.Since(started) }
