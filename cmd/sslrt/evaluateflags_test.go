package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestEveryFlagHasAProtocol wants each flag of evaluate in the table, and no other.
func TestEveryFlagHasAProtocol(t *testing.T) {
	cmd, _, err := newRoot(streams{strings.NewReader(""), io.Discard, io.Discard}).Find([]string{"evaluate"})
	if err != nil {
		t.Fatal(err)
	}
	listed := slices.Clone(everyProtocol)
	for _, names := range protocolFlags {
		listed = append(listed, names...)
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(listed, f.Name) {
			t.Errorf("no protocol has --%s: evaluate refuses it always", f.Name)
		}
	})
	for _, name := range listed {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("the table names --%s, which evaluate has not", name)
		}
	}
}
