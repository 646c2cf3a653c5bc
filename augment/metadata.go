package augment

import (
	"fmt"
	"strconv"
	"strings"
)

// Metadata returns p as text, one entry per property: size, resize, resize_to, interpolation, crop,
// mean, std, channel_order, channels. size is "224", or "HEIGHTxWIDTH" when it is not square; mean and
// std are comma-separated. [ParsePreprocess] is the inverse.
func (p Preprocess) Metadata() map[string]string {
	size := strconv.Itoa(p.Width)
	if p.Width != p.Height {
		size = fmt.Sprintf("%dx%d", p.Height, p.Width)
	}
	return map[string]string{
		"size":          size,
		"resize":        string(p.Resize),
		"resize_to":     strconv.Itoa(p.ResizeTo),
		"interpolation": p.Interpolation.String(),
		"crop":          string(p.Crop),
		"mean":          formatTriple(p.Mean),
		"std":           formatTriple(p.Std),
		"channel_order": p.ChannelOrder,
		"channels":      strconv.Itoa(p.Channels),
	}
}

// String describes p in one line, for people.
func (p Preprocess) String() string {
	var b strings.Builder
	switch p.Resize {
	case ResizeExact:
		if p.ResizeTo > 0 {
			fmt.Fprintf(&b, "resize to %dx%d (%v), ", p.ResizeTo, p.ResizeTo, p.Interpolation)
		} else {
			fmt.Fprintf(&b, "resize to %dx%d (%v), ", p.Height, p.Width, p.Interpolation)
		}
	case ResizeShorter:
		fmt.Fprintf(&b, "resize the shorter side to %d (%v), ", p.ResizeTo, p.Interpolation)
	}
	if p.Crop == CropCenter {
		fmt.Fprintf(&b, "crop the centre %dx%d, ", p.Height, p.Width)
	}
	order := p.ChannelOrder
	if p.Channels == 1 {
		order = "gray"
	}
	fmt.Fprintf(&b, "%s, mean %s, std %s", order, formatTriple(p.Mean), formatTriple(p.Std))
	return b.String()
}

// ParsePreprocess reads what [Preprocess.Metadata] wrote. size, mean and std must be there; the rest
// defaults to exact resizing, bilinear, no crop, RGB, 3 channels. Keys it does not know are ignored.
func ParsePreprocess(md map[string]string) (Preprocess, error) {
	p := Preprocess{Resize: ResizeExact, Crop: CropNone, ChannelOrder: "RGB", Channels: 3}
	fail := func(key string, err error) (Preprocess, error) {
		return Preprocess{}, fmt.Errorf("augment: preprocessing: %s %q: %w", key, md[key], err)
	}
	for _, key := range []string{"size", "mean", "std"} {
		if _, ok := md[key]; !ok {
			return Preprocess{}, fmt.Errorf("augment: preprocessing: no %s is given", key)
		}
	}
	var err error
	h, w, two := strings.Cut(md["size"], "x")
	if !two {
		w = h
	}
	if p.Height, err = strconv.Atoi(h); err != nil {
		return fail("size", err)
	}
	if p.Width, err = strconv.Atoi(w); err != nil {
		return fail("size", err)
	}
	if p.Mean, err = parseTriple(md["mean"]); err != nil {
		return fail("mean", err)
	}
	if p.Std, err = parseTriple(md["std"]); err != nil {
		return fail("std", err)
	}
	if v, ok := md["resize"]; ok {
		p.Resize = ResizeRule(v)
		if p.Resize != ResizeExact {
			p.Crop = CropCenter
		}
	}
	if v, ok := md["resize_to"]; ok {
		if p.ResizeTo, err = strconv.Atoi(v); err != nil {
			return fail("resize_to", err)
		}
	}
	if v, ok := md["interpolation"]; ok {
		if p.Interpolation, err = ParseFilter(v); err != nil {
			return Preprocess{}, err
		}
	}
	if v, ok := md["crop"]; ok {
		p.Crop = CropRule(v)
	}
	if v, ok := md["channel_order"]; ok {
		p.ChannelOrder = v
	}
	if v, ok := md["channels"]; ok {
		if p.Channels, err = strconv.Atoi(v); err != nil {
			return fail("channels", err)
		}
	}
	if err := p.Validate(); err != nil {
		return Preprocess{}, err
	}
	return p, nil
}

func formatTriple(v [3]float32) string {
	s := make([]string, 3)
	for i, x := range v {
		s[i] = strconv.FormatFloat(float64(x), 'g', -1, 32)
	}
	return strings.Join(s, ",")
}

// parseTriple reads one number, which stands for all three channels, or three.
func parseTriple(s string) (out [3]float32, err error) {
	parts := strings.Split(s, ",")
	if len(parts) == 1 {
		parts = []string{s, s, s}
	}
	if len(parts) != 3 {
		return out, fmt.Errorf("got %d numbers, want 3 separated by commas", len(parts))
	}
	for i, part := range parts {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 32)
		if err != nil {
			return out, err
		}
		out[i] = float32(v)
	}
	return out, nil
}
