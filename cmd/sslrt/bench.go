package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newBench(s streams, g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench step|augment|embed",
		Short: "Measure how fast this machine is",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, args []string) error { return usagef("say what to measure: bench step, bench augment or bench embed") },
	}
	cmd.AddCommand(newBenchStep(s, g), newBenchAugment(s, g))
	for _, missing := range []string{"embed"} {
		cmd.AddCommand(&cobra.Command{
			Use:   missing,
			Short: "Not built yet",
			RunE: func(*cobra.Command, []string) error {
				return fmt.Errorf("bench %s is not built yet: choose step", missing)
			},
		})
	}
	return cmd
}
