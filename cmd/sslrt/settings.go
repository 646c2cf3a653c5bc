package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
)

// configure puts what the command line says over c: --config, then DATA and the
// flags that were given, then --set.
func (o *pretrainOptions) configure(c *finetune.Config) error {
	if o.config != "" {
		data, err := os.ReadFile(o.config)
		if err != nil {
			return fmt.Errorf("--config: %w", err)
		}
		if err := c.Apply(data); err != nil {
			return fmt.Errorf("--config %s: %w", o.config, err)
		}
	}
	if len(o.data) > 0 {
		c.Data = o.data
	}
	for _, key := range finetune.Settings() {
		f := o.cmd.Flags().Lookup(strings.ReplaceAll(key, "_", "-"))
		if f == nil || !f.Changed {
			continue
		}
		if key == "projector" {
			if err := setProjector(c, o.projector); err != nil {
				return err
			}
		} else if key == "augment" {
			text, err := augmentText(o.augment)
			if err != nil {
				return err
			}
			if err := c.Set(key, text); err != nil {
				return usagef("--%s: %w", f.Name, err)
			}
			c.Views = nil
		} else if err := c.Set(key, f.Value.String()); err != nil {
			return usagef("--%s: %w", f.Name, err)
		}
	}
	return setAll(c, o.set)
}

// setAll carries out --set.
func setAll(c *finetune.Config, settings []string) error {
	for _, setting := range settings {
		key, value, ok := strings.Cut(setting, "=")
		if !ok {
			return usagef("--set %s: want key=value", setting)
		}
		if err := c.Set(key, value); err != nil {
			return usagef("--set %s: %w", setting, err)
		}
	}
	return nil
}

// setProjector reads --projector: widths joined by dashes, or none.
func setProjector(c *finetune.Config, flag string) error {
	c.Projector, c.NoProjector = nil, flag == "none"
	if c.NoProjector {
		return nil
	}
	for part := range strings.SplitSeq(flag, "-") {
		w, err := strconv.Atoi(part)
		if err != nil || w < 1 {
			return usagef("--projector %s: want widths such as 512-128, or none", flag)
		}
		c.Projector = append(c.Projector, w)
	}
	return nil
}

// checkResumed refuses settings that contradict those of the run, and lists them.
func checkResumed(run *finetune.Run, given finetune.Config, src augment.Source) error {
	// "auto" and the like agree with what they stand for.
	if resolved := given; resolved.Resolve(src) == nil {
		given = resolved
	}
	differences := given.Differences(run.Config)
	if len(differences) == 0 {
		return nil
	}
	var list strings.Builder
	for _, d := range differences {
		fmt.Fprintf(&list, "\n  %s: given %s, the run has %s", d.Key, d.Given, d.Stored)
	}
	return usagef("--resume takes its settings from %s, which these contradict:%s\nleave them out, or start another run by --config",
		filepath.Join(run.Dir, "config.yaml"), list.String())
}
