package finetune_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune"
)

// Images that vanish during a run are named once each, counted, and replaced.
func TestImagesVanishDuringTheRun(t *testing.T) {
	dir := pictures(t, 20)
	src := open(t, dir)
	c := small("go")
	c.Epochs, c.Cache = 5, 0 // decoded images would still be there
	run := begin(t, c, src)
	var skipped []string
	gone := []string{"bright/000.png", "bright/007.png", "dark/019.png"}
	res, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{
		Epoch: func(e finetune.EpochReport) {
			if e.Epoch != 1 {
				return
			}
			for _, name := range gone {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			}
		},
		Warn: func(s string) { skipped = append(skipped, s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(skipped, "\n")
	for _, name := range gone {
		if strings.Count(all, name) != 1 {
			t.Errorf("%s is named %d times in %q", name, strings.Count(all, name), all)
		}
	}
	if res.Skipped != len(gone) || res.Steps != 25 {
		t.Errorf("%d images skipped in %d steps, want %d in 25", res.Skipped, res.Steps, len(gone))
	}
}

// When all are gone the run ends, and what it did is kept.
func TestAllImagesVanish(t *testing.T) {
	dir := pictures(t, 20)
	src := open(t, dir)
	c := small("go")
	c.Cache = 0
	run := begin(t, c, src)
	_, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{Step: func(p finetune.Progress) {
		if p.Step == 7 {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
	}})
	if err == nil || !strings.Contains(err.Error(), "none of the 40 images could be read") {
		t.Fatalf("got %v", err)
	}
	// Batches were read ahead; all steps that they gave are in the checkpoint.
	if _, info, err := run.LoadCheckpoint(); err != nil || info.Step < 7 || info.Step > 15 {
		t.Errorf("the checkpoint is %+v, %v", info, err)
	}
}

// Data that changed while a run was stopped are told: the order of the images is
// another one.
func TestImagesVanishWhileTheRunIsStopped(t *testing.T) {
	dir := pictures(t, 20)
	run := begin(t, small("go"), open(t, dir))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	finetune.Pretrain(ctx, run, open(t, dir), finetune.Events{Step: func(p finetune.Progress) {
		if p.Step == 7 {
			cancel()
		}
	}})
	for _, name := range []string{"bright/000.png", "bright/001.png"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	var warnings []string
	res, err := finetune.Pretrain(context.Background(), run, open(t, dir), finetune.Events{Warn: func(s string) { warnings = append(warnings, s) }})
	if err != nil || res.Steps != 12 { // 38 images: 4 batches of 8 in each of 3 epochs
		t.Fatalf("%+v, %v", res, err)
	}
	if all := strings.Join(warnings, "\n"); strings.Count(all, "the data hold 38 images, when the run was stopped there were 40") != 1 {
		t.Errorf("warnings %q", warnings)
	}
}
