package runtime

import (
	"strings"
	"testing"
)

func TestCSVOfMixedWidth(t *testing.T) {
	_, err := readCSV(strings.NewReader("file,e0,e1\na,1,2\nb,1,2,3\n"))
	if want := "line 3: got 4 columns, want 3 as in the first line"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
