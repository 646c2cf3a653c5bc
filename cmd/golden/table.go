package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/sslrt/sslrt/finetune/engine"
)

// count is the outcome of the cases of one kind on one machine.
type count struct{ passed, failed, notCovered int }

// row is one line of the table.
type row struct {
	group, kind, machine string
	count
}

// table collects outcomes.
type table struct {
	rows     []*row
	failures []string
	reasons  map[string][]string // cases by group, kind and reason
	order    []string            // of reasons
	notes    []string
	measured []string
}

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// add records the outcome of a case.
func (t *table) add(group string, c *Case, m engine.Machine, err error) {
	machine := machineName(m)
	t.measured, c.measured = append(t.measured, c.measured...), nil
	r := t.row(group, c.Op, machine)
	var n notCovered
	switch {
	case err == nil:
		r.passed++
	case errors.As(err, &n):
		r.notCovered++
		key := fmt.Sprintf("%s/%s: %s", group, c.Op, string(n))
		if t.reasons == nil {
			t.reasons = map[string][]string{}
		}
		if _, known := t.reasons[key]; !known {
			t.order = append(t.order, key)
		}
		if !slices.Contains(t.reasons[key], c.Name) {
			t.reasons[key] = append(t.reasons[key], c.Name)
		}
	default:
		r.failed++
		t.failures = append(t.failures, fmt.Sprintf("%s/%s %s: %v", group, c.Name, machine, err))
	}
}

func (t *table) row(group, kind, machine string) *row {
	for _, r := range t.rows {
		if r.group == group && r.kind == kind && r.machine == machine {
			return r
		}
	}
	r := &row{group: group, kind: kind, machine: machine}
	t.rows = append(t.rows, r)
	return r
}

func (t *table) passed() int { return t.sum(func(r *row) int { return r.passed }) }
func (t *table) failed() int { return t.sum(func(r *row) int { return r.failed }) }

func (t *table) sum(f func(*row) int) int {
	n := 0
	for _, r := range t.rows {
		n += f(r)
	}
	return n
}

// print writes one line for each kind and machine, a sum for each group and
// machine, then every failure and everything that is not covered.
func (t *table) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "group\tkind\tmachine\tpassed\tfailed\tnot covered")
	line := func(r row) {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%d\t%d\n", r.group, r.kind, r.machine, r.passed, r.failed, r.notCovered)
	}
	for i, r := range t.rows {
		line(*r)
		if i+1 == len(t.rows) || t.rows[i+1].group != r.group {
			for _, s := range t.totals(r.group) {
				line(s)
			}
		}
	}
	tw.Flush()
	for _, m := range t.measured {
		fmt.Fprintln(w, m)
	}
	section(w, "failed", t.failures)
	var open []string
	for _, key := range t.order {
		names := t.reasons[key]
		shown := fmt.Sprint(names)
		if len(names) > 4 {
			shown = fmt.Sprintf("%v and %d more", names[:4], len(names)-4)
		}
		open = append(open, fmt.Sprintf("%s: %d case(s) %s", key, len(names), shown))
	}
	section(w, "not covered", open)
	section(w, "notes", t.notes)
}

func section(w io.Writer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	for _, l := range lines {
		fmt.Fprintln(w, " ", l)
	}
}

func (t *table) totals(group string) []row {
	sums := map[string]*row{}
	for _, r := range t.rows {
		if r.group != group {
			continue
		}
		s := sums[r.machine]
		if s == nil {
			s = &row{group: group, kind: "ALL", machine: r.machine}
			sums[r.machine] = s
		}
		s.passed += r.passed
		s.failed += r.failed
		s.notCovered += r.notCovered
	}
	var out []row
	for _, s := range sums {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b row) int { return cmp.Compare(a.machine, b.machine) })
	return out
}
