package augment

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// maxExpansion bounds how many paths the patterns of one call may stand for.
const maxExpansion = 100_000

// expandBraces replaces paths with braces by what they stand for, as shells do: a{1..3}b, a{001..100}b,
// a{x,y}b. A path that exists is left as it is.
func expandBraces(paths []string) ([]string, error) {
	var out []string
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(path, "{") {
			out = append(out, path)
			continue
		}
		all, err := expandBrace(path, maxExpansion-len(out))
		if err != nil {
			return nil, fmt.Errorf("augment: %s: %w", path, err)
		}
		out = append(out, all...)
	}
	return out, nil
}

// expandBrace expands the first pair of braces, and then the rest. What is no pattern is left alone.
func expandBrace(path string, most int) ([]string, error) {
	start := strings.IndexByte(path, '{')
	if start < 0 {
		if most < 1 {
			return nil, fmt.Errorf("the pattern stands for more than %d paths", maxExpansion)
		}
		return []string{path}, nil
	}
	end := strings.IndexByte(path[start:], '}')
	if end < 0 {
		return []string{path}, nil
	}
	end += start
	choices, err := braceChoices(path[start+1:end], most)
	if err != nil {
		return nil, err
	}
	tails, err := expandBrace(path[end+1:], most)
	if err != nil {
		return nil, err
	}
	if len(choices)*len(tails) > most {
		return nil, fmt.Errorf("the pattern stands for more than %d paths", maxExpansion)
	}
	var out []string
	for _, choice := range choices {
		for _, tail := range tails {
			out = append(out, path[:start]+choice+tail)
		}
	}
	return out, nil
}

// braceChoices lists what stands between braces: a range of numbers, padded with zeros like its ends,
// or texts separated by commas.
func braceChoices(inner string, most int) ([]string, error) {
	first, last, isRange := strings.Cut(inner, "..")
	from, err1 := strconv.Atoi(first)
	to, err2 := strconv.Atoi(last)
	if !isRange || err1 != nil || err2 != nil {
		if !strings.Contains(inner, ",") {
			return []string{"{" + inner + "}"}, nil
		}
		return strings.Split(inner, ","), nil
	}
	if to < from || from < 0 {
		return nil, fmt.Errorf("the range {%s} does not go up from 0 or more", inner)
	}
	if to-from >= most {
		return nil, fmt.Errorf("the pattern stands for more than %d paths", maxExpansion)
	}
	width := 0
	if len(first) > 1 && first[0] == '0' || len(first) == len(last) {
		width = len(first)
	}
	var out []string
	for n := from; n <= to; n++ {
		out = append(out, fmt.Sprintf("%0*d", width, n))
	}
	return out, nil
}
