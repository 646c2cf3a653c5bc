package finetune

import (
	"os"
	"strings"
	"testing"
)

func TestCost(t *testing.T) {
	run := &Run{Dir: t.TempDir()}
	if c, err := run.Cost(); err != nil || c != (Cost{}) {
		t.Errorf("of a run without a record: %v, %v", c, err)
	}
	tr := &trainer{Run: run}
	tr.pace = newPace(sinceStart)
	if err := os.WriteFile(run.path(fileCost), []byte(`{"seconds":1000,"peak_bytes":4611686018427387904}`), 0o644); err != nil {
		t.Fatal(err)
	}
	tr.counted = tr.pace.now()
	if err := tr.addCost(); err != nil {
		t.Fatal(err)
	}
	first, err := run.Cost()
	if err != nil || first.Seconds < 1000 || first.PeakBytes != 1<<62 {
		t.Errorf("got %+v, %v: want what an earlier start took in it", first, err)
	}
	if err := os.WriteFile(run.path(fileCost), []byte(`{"sec`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Cost(); err == nil || !strings.Contains(err.Error(), fileCost) {
		t.Errorf("of a damaged record: %v", err)
	}
	if err := tr.addCost(); err != nil { // no reason to stop training
		t.Fatal(err)
	}
	if c, err := run.Cost(); err != nil || c.Seconds > first.Seconds-1000+60 {
		t.Errorf("got %+v, %v: want it counted anew", c, err)
	}
}
