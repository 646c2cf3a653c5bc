package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/finetune/detector"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
)

func newAnomalyThreshold(s streams, g *global) *cobra.Command {
	var value, pixel float64
	var output string
	var force bool
	cmd := &cobra.Command{
		Use:   "threshold DETECTOR.onnx",
		Short: "Show a detector's threshold, or write another one into it",
		Long: `Threshold prints the score above which a detector calls an image anomalous. With
--set it writes another one into the file (or, with --output, into a copy): nothing is
fitted anew. sslrt anomaly score --threshold sets it for one run only.`,
		Example: `  sslrt anomaly threshold detector.onnx
  sslrt anomaly threshold detector.onnx --set 14.2`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := args[0]
			m, err := onnx.ReadFile(path)
			if err != nil {
				return err
			}
			info, err := onnx.ReadInfo(m)
			if err != nil {
				return err
			}
			if info.Kind != onnx.KindDetector || info.Threshold == nil {
				return fmt.Errorf("anomaly threshold: %s is no detector (sslrt anomaly fit makes one)", path)
			}
			change := cmd.Flags().Changed("set")
			if !change && (output != "" || force || cmd.Flags().Changed("pixel")) {
				return usagef("give the new threshold by --set")
			}
			was := *info.Threshold
			if change {
				var p *float64
				if cmd.Flags().Changed("pixel") {
					p = &pixel
				}
				if err := detector.SetThreshold(m, value, p); err != nil {
					return err
				}
				if info, err = onnx.ReadInfo(m); err != nil {
					return err
				}
				to := path
				if output != "" {
					to = output
				}
				if err := engine.WriteVerified(to, m, force || output == "", nil); err != nil {
					return err
				}
				path = to
			}
			if g.json {
				return printJSON(s.out, struct {
					Path      string   `json:"path"`
					Threshold float64  `json:"threshold"`
					Was       float64  `json:"was"`
					Pixel     *float64 `json:"pixel_threshold,omitempty"`
				}{path, *info.Threshold, was, info.PixelThresh})
			}
			if change {
				_, err = fmt.Fprintf(s.out, "threshold of %s: %.6g, was %.6g\n", path, *info.Threshold, was)
			} else {
				_, err = fmt.Fprintf(s.out, "threshold of %s: %.6g\n", path, was)
				if err == nil && info.PixelThresh != nil {
					_, err = fmt.Fprintf(s.out, "of the heatmap's pixels: %.6g\n", *info.PixelThresh)
				}
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.Float64Var(&value, "set", 0, "the new threshold")
	fl.Float64Var(&pixel, "pixel", 0, "the new threshold of the heatmap's pixels, for masks")
	fl.StringVarP(&output, "output", "o", "", "write a copy instead of changing the file")
	fl.BoolVar(&force, "force", false, "replace a copy that exists")
	return cmd
}
