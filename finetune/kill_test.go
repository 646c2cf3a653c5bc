package finetune_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/models"
)

var kills = flag.Int("kill", 2, "how often TestKilledRunsGoOn kills each of its runs, and TestFullDisk fills the disk")

// envTrain makes the test binary a process that trains the run in this directory and
// prints a line after each batch.
const envTrain = "SSLRT_TEST_TRAIN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envTrain); dir != "" {
		if err := trainPrinting(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func trainPrinting(dir string) error {
	run, err := finetune.OpenRun(dir)
	if err != nil {
		return err
	}
	src, err := openLimited(run.Config)
	if err != nil {
		return err
	}
	defer src.Close()
	_, err = finetune.Pretrain(context.Background(), run, src, finetune.Events{
		Step: func(p finetune.Progress) { fmt.Println(p.Step) },
		Warn: func(s string) { fmt.Fprintln(os.Stderr, s) },
	})
	return err
}

func openLimited(c finetune.Config) (augment.Source, error) {
	src, err := augment.Open(c.Data, augment.SourceOptions{Split: c.Split})
	if err != nil {
		return nil, err
	}
	first := make([]int, c.Limit)
	for i := range first {
		first[i] = i
	}
	return augment.Subset(src, first), nil
}

// TestKilledRunsGoOn kills runs at random moments and compares them with runs that
// were left alone. With -kill 20 it takes a minute or two.
func TestKilledRunsGoOn(t *testing.T) {
	data, err := filepath.Abs("../testdata/fashion-mnist")
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range engines(t) {
		c := small(engine)
		c.Data, c.Split, c.Threads = []string{data}, "train", 1
		c.BatchSize, c.Limit, c.ImageSize = 16, 96, 8
		if engine == "ort" {
			c.Width, c.ImageSize = 0.125, 28
		}
		c.Epochs = 2**kills + 4 // a start gets through two epochs, and seldom a little more
		t.Run(engine, func(t *testing.T) { killAndCompare(t, c) })
	}
}

func killAndCompare(t *testing.T, c finetune.Config) {
	src, err := openLimited(c)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	straight, killed := begin(t, c, src), begin(t, c, src)
	interval := src.Len() / c.BatchSize // an epoch; the steps take less than 60 s

	// Behind the last line of an epoch come its measurement and its checkpoint.
	var startup time.Duration
	var pauses []time.Duration
	last := time.Now()
	steps, _ := start(t, straight, func(line int) bool {
		now := time.Now()
		switch {
		case line == 1:
			startup = now.Sub(last)
		case line%interval == 1:
			pauses = append(pauses, now.Sub(last))
		}
		last = now
		return true
	})
	slices.Sort(pauses)
	pause := pauses[len(pauses)/2]
	if steps != c.Epochs*interval {
		t.Fatalf("the straight run took %d steps, want %d", steps, c.Epochs*interval)
	}

	total := 0
	for i := range *kills {
		after := rand.IntN(2 * interval)
		wait := time.Duration(rand.Float64() * float64(pause))
		if after == 0 {
			wait = time.Duration(rand.Float64() * float64(startup))
		}
		n, done := start(t, killed, func(line int) bool { return line < after }, wait)
		total += n
		state, info, err := killed.LoadCheckpoint()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("kill %d: %v", i+1, err)
		}
		if done {
			t.Fatalf("kill %d: the run was done before", i+1)
		}
		for _, name := range []string{"last", "before", "best"} {
			path := filepath.Join(killed.Dir, "checkpoints", name+".safetensors")
			if _, _, err := models.ReadSafetensors(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("kill %d: %v", i+1, err)
			}
		}
		t.Logf("kill %d: %d steps later, checkpoint at step %d (%d tensors)", i+1, n, info.Step, len(state))
	}
	n, _ := start(t, killed, func(int) bool { return true })
	total += n
	t.Logf("%d steps over %d starts, %d straight: %d more, at most %d allowed", total, *kills+1, steps, total-steps, *kills*interval)
	if total > steps+*kills*interval {
		t.Errorf("%d steps over all starts, want at most %d + %d", total, steps, *kills*interval)
	}
	for _, file := range []string{"checkpoints/last.safetensors", "checkpoints/best.safetensors", "metrics.jsonl"} {
		if readFile(t, straight, file) != readFile(t, killed, file) {
			t.Errorf("%s differs from the straight run's", file)
		}
	}
}

// start trains a run in a process of its own as long as more says so of the lines
// printed, then waits and kills it. It returns the number of steps, and whether the
// process came to its end.
func start(t *testing.T, run *finetune.Run, more func(line int) bool, wait ...time.Duration) (steps int, done bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envTrain+"="+run.Dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill := func() {
		time.Sleep(wait[0])
		cmd.Process.Kill()
	}
	killing := !more(0)
	if killing {
		go kill()
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if steps++; !killing && !more(steps) {
			killing = true
			go kill()
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() { // not by a signal
		t.Fatalf("the training process failed: %v\n%s", err, stderr.String())
	}
	if strings.Contains(stderr.String(), "checkpoint") {
		t.Errorf("a checkpoint was damaged: %s", stderr.String())
	}
	return steps, err == nil
}
