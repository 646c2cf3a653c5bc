package main

import (
	"github.com/spf13/cobra"
)

func newBench(s streams, g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench step|augment|embed",
		Short: "Measure how fast this machine trains, augments and embeds",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return usagef("say what to measure: bench step, bench augment or bench embed")
		},
	}
	cmd.AddCommand(newBenchStep(s, g), newBenchAugment(s, g), newBenchEmbed(s, g))
	return cmd
}
