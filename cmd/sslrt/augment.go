package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
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

// previewFlags are the flags of augment preview.
type previewFlags struct {
	data                   dataFlags
	output, policy, config string
	set                    []string
	size, count, views     int
	seed                   uint64
	ownViews               bool // --views was given
}

func newAugmentPreview(s streams, g *global) *cobra.Command {
	var f previewFlags
	cmd := &cobra.Command{
		Use:   "preview DATA...",
		Short: "Draw images beside augmented views of them",
		Long: `Preview writes a contact sheet: images of the data, each followed by random views
of it, augmented as sslrt pretrain does. The same seed gives the same sheet.

The policy is that of --augment: the name of a preset (` + strings.Join(augment.Presets(), ", ") + `), a file with a policy, or a
policy itself; or what --config says under augment and views. docs/augment.md lists
the transforms.`,
		Example: `  sslrt augment preview photos/ --image-size 64 --output preview.png
  sslrt augment preview photos/ --image-size 224 --augment dino
  sslrt augment preview photos/ --augment '[CenterCrop: {size: 64}, RandomRotation: {degrees: 30}]'
  sslrt augment preview photos/ --config runs/first/config.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.ownViews = cmd.Flags().Changed("views")
			return f.run(s, g, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.output, "output", "o", "preview.png", "PNG file to write")
	fl.StringVar(&f.policy, "augment", "", "preset, file with a policy, or policy")
	fl.StringVar(&f.config, "config", "", "read augment, views and image_size from a file, such as a run's config.yaml")
	fl.StringArrayVar(&f.set, "set", nil, "override a setting of the configuration: key=value; may be repeated")
	fl.IntVar(&f.size, "image-size", 0, "pixels of a view (0: the first image's up to 64, else 128)")
	fl.IntVar(&f.count, "count", 32, "images")
	fl.IntVar(&f.views, "views", 2, "views of each image")
	fl.Uint64Var(&f.seed, "seed", 0, "of everything random")
	f.data.register(fl, true)
	return cmd
}

func (f *previewFlags) run(s streams, g *global, args []string) error {
	if f.size < 0 || f.size > 1024 || f.count < 1 || f.count > 1000 || f.views < 1 || f.views > 100 {
		return usagef("got --image-size %d, --count %d, --views %d: want 1 to 1024 (0: by the images), 1 to 1000, 1 to 100", f.size, f.count, f.views)
	}
	if err := wantSuffix("output", f.output, ".png"); err != nil {
		return err
	}
	c := finetune.DefaultConfig()
	if err := previewConfig(&c, f.config, f.policy, f.set); err != nil {
		return err
	}
	if len(c.Views) > 0 && f.ownViews {
		return usagef("--views goes with one policy for all views: the configuration says how many there are")
	}
	src, err := f.data.open(args, "train", s)
	if err != nil {
		return err
	}
	defer src.Close()
	if f.size != 0 {
		c.ImageSize = f.size
	}
	if c.ImageSize == 0 {
		if c.ImageSize, err = finetune.UsualSize(src); err != nil {
			return err
		}
	}
	plan, err := c.PreviewViews(f.views)
	if err != nil {
		return err
	}
	count := min(f.count, src.Len())
	side := int64(max(c.ImageSize, 64)) // smaller ones are enlarged
	if pixels := int64(count*(1+plan.Len())) * side * side; pixels > augment.MaxPixels {
		return fmt.Errorf("augment preview: a sheet of %d images with %d views of %d pixels has %d pixels, want %d at most: choose a smaller --count, --views or --image-size",
			count, plan.Len(), c.ImageSize, pixels, augment.MaxPixels)
	}
	sheet, err := finetune.Preview(src, plan, c.ImageSize, count, f.seed)
	if err != nil {
		return err
	}
	if err := writePNG(f.output, sheet.ToImage()); err != nil {
		return err
	}
	if g.json {
		return printJSON(s.out, struct {
			Path   string `json:"path"`
			Policy string `json:"policy"`
		}{f.output, plan.String()})
	}
	fmt.Fprintf(s.out, "wrote %s, %dx%d pixels\n", f.output, sheet.W, sheet.H)
	for _, v := range plan {
		fmt.Fprintf(s.out, "policy: %v\n", v)
	}
	return nil
}

// previewConfig puts --config, --augment and --set over c, in this order.
func previewConfig(c *finetune.Config, config, policy string, set []string) error {
	if config != "" {
		data, err := os.ReadFile(config)
		if err != nil {
			return fmt.Errorf("--config: %w", err)
		}
		if err := c.Apply(data); err != nil {
			return fmt.Errorf("--config %s: %w", config, err)
		}
	}
	if policy != "" {
		text, err := augmentText(policy)
		if err != nil {
			return err
		}
		if err := c.Set("augment", text); err != nil {
			return usagef("--augment: %w", err)
		}
		c.Views = nil
	}
	return setAll(c, set)
}

// augmentText is what --augment says: the content of a file that it names, or itself.
func augmentText(value string) (string, error) {
	if info, err := os.Stat(value); err == nil && info.Mode().IsRegular() {
		data, err := os.ReadFile(value)
		if err != nil {
			return "", fmt.Errorf("--augment: %w", err)
		}
		return string(data), nil
	}
	if ext := filepath.Ext(value); ext == ".yaml" || ext == ".yml" {
		return "", usagef("--augment %s: no such file", value)
	}
	return value, nil
}
