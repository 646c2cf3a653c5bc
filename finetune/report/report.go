// Package report writes a page about a run or a detector: one HTML file with all
// pictures inside, which opens without a network.
package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"io"
)

// Page is a page of sections.
type Page struct {
	Title    string
	Summary  string // one line below the title
	Sections []Section
}

// Section is a heading and what stands below it. Empty parts are left out.
type Section struct {
	Title  string
	Text   string     // a paragraph that explains what is seen
	Table  [][]string // the first row is the header
	Images []Image
}

// Image is a picture with its caption.
type Image struct {
	Caption string
	PNG     []byte
}

// Picture encodes m.
func Picture(caption string, m image.Image) (Image, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return Image{}, fmt.Errorf("report: %s: %w", caption, err)
	}
	return Image{caption, b.Bytes()}, nil
}

// Source is the picture as the address of an <img>.
func (i Image) Source() template.URL {
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(i.PNG))
}

// WriteTo writes the page as HTML.
func (p *Page) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	if err := page.Execute(c, p); err != nil {
		return c.n, fmt.Errorf("report: %w", err)
	}
	return c.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; --line: #8884; --faint: #888; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; }
h2 { font-size: 1.15rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
nav { margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem 1.2rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
td { overflow-wrap: anywhere; min-width: 4rem; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; background: white; }
figcaption, .summary { color: var(--faint); }
</style>
</head>
<body>
<h1>{{.Title}}</h1>
{{with .Summary}}<p class="summary">{{.}}</p>{{end}}
<nav>{{range $i, $s := .Sections}}<a href="#s{{$i}}">{{$s.Title}}</a>{{end}}</nav>
{{range $i, $s := .Sections}}<section id="s{{$i}}">
<h2>{{$s.Title}}</h2>
{{with $s.Text}}<p>{{.}}</p>{{end}}
{{with $s.Table}}<div class="scroll"><table>
{{range $k, $row := .}}<tr>{{range $row}}{{if $k}}<td>{{.}}</td>{{else}}<th>{{.}}</th>{{end}}{{end}}</tr>
{{end}}</table></div>{{end}}
{{range $s.Images}}<figure><img src="{{.Source}}" alt="{{.Caption}}"><figcaption>{{.Caption}}</figcaption></figure>
{{end}}</section>
{{end}}</body>
</html>
`))
