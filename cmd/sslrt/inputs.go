package main

import (
	"fmt"

	"github.com/spf13/pflag"
)

// inputs counts the images that a command was given, and those of them that it skipped
// because they cannot be read.
type inputs struct {
	given, skipped int
	strict         bool
}

func (n *inputs) register(fl *pflag.FlagSet) {
	fl.BoolVar(&n.strict, "strict", false, "exit with 1 instead of 3 when images were skipped")
}

func (n *inputs) add(given, skipped int) { n.given, n.skipped = n.given+given, n.skipped+skipped }

// err is the error of a command that did its work but for the inputs it skipped.
func (n *inputs) err() error {
	switch {
	case n.skipped == 0:
		return nil
	case n.strict:
		return fmt.Errorf("%v, which --strict does not allow", skippedError{n.skipped, n.given})
	}
	return skippedError{n.skipped, n.given}
}
