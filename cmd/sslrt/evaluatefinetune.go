package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sslrt/sslrt/finetune"
)

// finetune fine-tunes the encoder in a run that is thrown away, and measures it: what
// sslrt finetune does with these flags.
func (f *evaluateFlags) finetune(ctx context.Context, s streams, g *global, model string) error {
	if _, err := f.options(); err != nil {
		return err
	}
	reading, err := f.data.options()
	if err != nil {
		return err
	}
	info, err := os.Stat(model)
	if err != nil {
		return fmt.Errorf("evaluate: %w", err)
	}
	dir, err := os.MkdirTemp("", "sslrt-evaluate-*")
	if err != nil {
		return fmt.Errorf("evaluate: %w", err)
	}
	defer os.RemoveAll(dir)
	base := model
	if !info.IsDir() { // an encoder's file: a run of it first
		base = filepath.Join(dir, "base")
		c := finetune.DefaultConfig()
		c.Encoder, c.ImageSize = "", 0
		if _, _, err := finetune.ImportONNX(model, base, c); err != nil {
			return err
		}
	}
	args := append([]string{base}, f.train...)
	args = append(args, "--run", filepath.Join(dir, "run"), "--labels", f.labels, "--seed", strconv.FormatUint(f.seed, 10),
		"--device", f.device, "--threads", strconv.Itoa(f.threads), "--workers", strconv.Itoa(f.job.Workers))
	for key, value := range map[string]string{"cifar_labels": reading.Labels, "exif_orientation": strconv.FormatBool(reading.Decode.Orient),
		"max_pixels": strconv.FormatInt(reading.Decode.MaxPixels, 10)} {
		args = append(args, "--set", key+"="+value)
	}
	for _, t := range f.test {
		args = append(args, "--test", t)
	}
	for _, c := range f.results.confusion {
		args = append(args, "--confusion", c)
	}
	if f.results.output != "" {
		args = append(args, "--output", f.results.output)
	}
	args = append(args, "--report="+strconv.FormatBool(f.results.report), "--force="+strconv.FormatBool(f.results.force),
		"--strict="+strconv.FormatBool(f.inputs.strict))
	cmd := (&finetuneFlags{model: model}).command(s, g)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	return cmd.ExecuteContext(ctx)
}
