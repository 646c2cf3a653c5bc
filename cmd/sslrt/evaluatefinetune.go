package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sslrt/sslrt/finetune"
)

const protocolFinetune = "finetune"

// finetune fine-tunes the encoder in a run that is thrown away, and measures it: what
// sslrt finetune does with these flags.
func (f *evaluateFlags) finetune(ctx context.Context, s streams, g *global, model string) error {
	if len(f.train) == 0 || len(f.test) == 0 {
		return usagef("evaluate needs labelled data by --train and --test")
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
	if !info.IsDir() { // an encoder's file: a run of it first
		base := filepath.Join(dir, "base")
		c := finetune.DefaultConfig()
		c.Encoder, c.ImageSize = "", 0
		if _, _, err := finetune.ImportONNX(model, base, c); err != nil {
			return err
		}
		model = base
	}
	args := append([]string{model}, f.train...)
	args = append(args, "--run", filepath.Join(dir, "run"), "--labels", f.labels, "--seed", strconv.FormatUint(f.seed, 10),
		"--device", f.device, "--threads", strconv.Itoa(f.threads), "--workers", strconv.Itoa(f.job.Workers))
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
	cmd := newFinetune(s, g)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	return cmd.ExecuteContext(ctx)
}
