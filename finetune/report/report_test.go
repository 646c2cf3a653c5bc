package report_test

import (
	"bytes"
	"fmt"
	"image"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/report"
)

func TestPageHoldsEverything(t *testing.T) {
	pic, err := report.Picture("a <picture>", image.NewGray(image.Rect(0, 0, 2, 2)))
	if err != nil {
		t.Fatal(err)
	}
	p := report.Page{Title: "runs/<first>", Summary: "short", Sections: []report.Section{
		{Title: "Numbers", Text: "What they are.", Table: [][]string{{"name", "value"}, {"loss & more", "1.5"}}},
		{Title: "Pictures", Images: []report.Image{pic}},
	}}
	var b bytes.Buffer
	n, err := p.WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if int(n) != len(text) {
		t.Errorf("says %d bytes, wrote %d", n, len(text))
	}
	for _, want := range []string{"<title>runs/&lt;first&gt;</title>", "<th>name</th>", "<td>loss &amp; more</td>",
		`src="data:image/png;base64,iVBOR`, "a &lt;picture&gt;", `href="#s1"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	// It opens without a network.
	for _, bad := range []string{"http://", "https://", "<script"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
}

func Example() {
	p := report.Page{Title: "runs/first", Sections: []report.Section{{Title: "Result", Table: [][]string{{"metric", "value"}, {"knn", "0.69"}}}}}
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		panic(err)
	}
	fmt.Println(strings.Contains(b.String(), "<td>0.69</td>"))
	// Output: true
}
