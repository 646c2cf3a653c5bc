package main

import (
	"github.com/spf13/cobra"
)

func newAnomaly(s streams, g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "anomaly",
		Short: "Find images that are not normal",
		Long: `Anomaly makes detectors from an encoder and images of normal things, and uses
them. A detector is one ONNX file: score, heatmap and decision are computed inside.

  sslrt anomaly fit encoder.onnx parts/good --output detector.onnx
  sslrt anomaly score detector.onnx new/ --output scores.csv --heatmaps maps/
  sslrt anomaly evaluate detector.onnx parts/
  sslrt anomaly threshold detector.onnx --set 12.5`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAnomalyFit(s, g), newAnomalyScore(s, g), newAnomalyEvaluate(s, g), newAnomalyThreshold(s, g))
	return cmd
}
