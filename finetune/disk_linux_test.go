package finetune_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sslrt/sslrt/finetune"
)

// TestFullDisk trains on a small file system that is full at a random write, then
// gives it room and goes on. It needs the right to mount one.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	mount := func(flags uintptr, bytes int64) error {
		return syscall.Mount("tmpfs", disk, "tmpfs", flags, fmt.Sprintf("size=%d", bytes))
	}
	if err := mount(0, 1<<20); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	defer syscall.Unmount(disk, 0)

	src := open(t, pictures(t, 20))
	c := small("go")
	straight := begin(t, c, src)
	trainStopping(t, straight, src)
	info, err := os.Stat(straight.CheckpointPath())
	if err != nil {
		t.Fatal(err)
	}
	full := 0
	for i := range *kills + 1 {
		// From no room for the first checkpoint to nearly all that a run takes.
		size := int64(4096*12) + rand.Int64N(4*info.Size())
		if err := mount(syscall.MS_REMOUNT, size); err != nil {
			t.Fatal(err)
		}
		run, err := finetune.CreateRun(filepath.Join(disk, fmt.Sprint(i)), straight.Config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = finetune.Pretrain(context.Background(), run, src, finetune.Events{})
		if err != nil {
			full++
			if !errors.Is(err, syscall.ENOSPC) || strings.Count(err.Error(), syscall.ENOSPC.Error()) != 1 {
				t.Errorf("%d bytes: got %v, want once that no space is left", size, err)
			}
		}
		_, at, err := run.LoadCheckpoint()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d bytes: the checkpoint: %v", size, err)
		}
		t.Logf("%d bytes: checkpoint at step %d", size, at.Step)
		if err := mount(syscall.MS_REMOUNT, 1<<24); err != nil {
			t.Fatal(err)
		}
		trainStopping(t, run, src)
		for _, file := range []string{"checkpoints/last.safetensors", "checkpoints/best.safetensors", "metrics.jsonl"} {
			if readFile(t, run, file) != readFile(t, straight, file) {
				t.Errorf("%d bytes: %s differs from that of a run with room", size, file)
			}
		}
		entries, err := filepath.Glob(filepath.Join(run.Dir, "checkpoints", "*"))
		if err != nil || len(entries) != 3 {
			t.Errorf("%d bytes: checkpoints %v (%v), want three", size, entries, err)
		}
		if err := os.RemoveAll(run.Dir); err != nil {
			t.Fatal(err)
		}
	}
	if full == 0 {
		t.Error("the disk was never full")
	}
}

func TestReadOnlyRun(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	defer syscall.Unmount(disk, 0)
	src := open(t, pictures(t, 20))
	c := small("go")
	if err := c.Resolve(src); err != nil {
		t.Fatal(err)
	}
	run, err := finetune.CreateRun(filepath.Join(disk, "run"), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{}); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "copy it to where that is allowed") {
		t.Errorf("training: %v", err)
	}
	if _, err := finetune.CreateRun(filepath.Join(disk, "other"), c); !errors.Is(err, syscall.EROFS) {
		t.Errorf("a new run: %v", err)
	}
}
