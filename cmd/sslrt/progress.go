package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far a command is: a bar on a terminal, else a line now and
// then.
type progress struct {
	w     io.Writer
	what  string // "embed: 12 of 60 images" is "embed", "images"
	unit  string
	total int
	bar   *progressbar.ProgressBar // nil unless w is a terminal
	last  time.Time                // of the last line
}

func newProgress(w io.Writer, what, unit string, total int) *progress {
	p := &progress{w: w, what: what, unit: unit, total: total, last: time.Now()}
	if isTerminal(w) {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetDescription(what),
			progressbar.OptionSetWidth(30),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString(unit),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

// set says that done of the total are done.
func (p *progress) set(done int) {
	switch {
	case p.bar != nil:
		p.bar.Set(done) // a terminal that fails is not worth stopping for
	case time.Since(p.last) >= lineEvery:
		p.last = time.Now()
		fmt.Fprintf(p.w, "%s: %d of %d %s\n", p.what, done, p.total, p.unit)
	}
}

// of says that there are so many in total, where that is known late.
func (p *progress) of(total int) {
	p.total = total
	if p.bar != nil {
		p.bar.ChangeMax(total)
	}
}

// printf writes a message between the progress.
func (p *progress) printf(format string, args ...any) {
	if p.bar != nil {
		p.bar.Clear()
	}
	fmt.Fprintf(p.w, format+"\n", args...)
}

// close takes the bar away.
func (p *progress) close() {
	if p.bar != nil {
		p.bar.Finish()
	}
}
