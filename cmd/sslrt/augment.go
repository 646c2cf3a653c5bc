package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/finetune"
)

func newAugment(s streams, g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "augment",
		Short: "Look at augmented images",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAugmentPreview(s, g))
	return cmd
}

func newAugmentPreview(s streams, g *global) *cobra.Command {
	var data dataFlags
	var output string
	var size, count, views int
	var seed uint64
	cmd := &cobra.Command{
		Use:   "preview DATA...",
		Short: "Draw images beside augmented views of them",
		Long: `Preview writes a contact sheet: images of the data, each followed by random views
of it, augmented as sslrt pretrain does. The same seed gives the same sheet.`,
		Example: `  sslrt augment preview photos/ --image-size 64 --output preview.png`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if size < 0 || size > 1024 || count < 1 || count > 1000 || views < 1 || views > 100 {
				return usagef("got --image-size %d, --count %d, --views %d: want 1 to 1024 (0: by the images), 1 to 1000, 1 to 100", size, count, views)
			}
			src, err := data.open(args, "train", s)
			if err != nil {
				return err
			}
			defer src.Close()
			c := finetune.DefaultConfig()
			if c.ImageSize = size; size == 0 {
				if c.ImageSize, err = finetune.UsualSize(src); err != nil {
					return err
				}
			}
			sheet, err := finetune.Preview(src, c.Policy(), c.ImageSize, min(count, src.Len()), views, seed)
			if err != nil {
				return err
			}
			if err := sheet.WritePNG(output); err != nil {
				return err
			}
			if g.json {
				return printJSON(s.out, struct {
					Path   string `json:"path"`
					Policy string `json:"policy"`
				}{output, c.Policy().String()})
			}
			_, err = fmt.Fprintf(s.out, "wrote %s, %dx%d pixels\npolicy: %v\n", output, sheet.W, sheet.H, c.Policy())
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&output, "output", "o", "preview.png", "PNG file to write")
	fl.IntVar(&size, "image-size", 0, "pixels of a view (0: the first image's up to 64, else 128)")
	fl.IntVar(&count, "count", 32, "images")
	fl.IntVar(&views, "views", 2, "views of each image")
	fl.Uint64Var(&seed, "seed", 0, "of everything random")
	data.register(fl, true)
	return cmd
}
