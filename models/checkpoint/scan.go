package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits of a pickle. Those of real checkpoints stay below a hundredth of them:
// weights are stored beside the pickle, not in it.
const (
	maxPickle  = 256 << 20  // bytes
	maxOps     = 10_000_000 // operations
	maxObjects = 1_000_000  // containers and calls
	maxMemo    = 1_000_000  // remembered objects
	maxDepth   = 1_000      // nesting
	maxLine    = 1 << 20    // bytes of a text argument
)

// argument is how an operation of the pickle machine carries its argument.
type argument uint8

const (
	argNone  argument = iota + 1 // opcodes that are not in the table are unknown
	argLine                      // text up to the end of the line
	argLines                     // two of them
	arg1                         // so many bytes
	arg2
	arg4
	arg8
	argLen1 // a length of so many bytes, then as many bytes as it says
	argLen4
	argLen8
	argFrame // 8 bytes: how many bytes of operations follow
)

// opcodes are those of protocols 0 to 5, see Python's pickletools.
var opcodes = func() (table [256]argument) {
	for arg, ops := range map[argument]string{
		argNone:  "(.012NQRabd}el]ost)u\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98",
		argLine:  "FILPSVgp",
		argLines: "ci",
		arg1:     "Khq\x80\x82",
		arg2:     "M\x83",
		arg4:     "Jjr\x84",
		arg8:     "G",
		argLen1:  "UC\x8a\x8c",
		argLen4:  "TXB\x8b",
		argLen8:  "\x8d\x8e\x96",
		argFrame: "\x95",
	} {
		for i := range len(ops) {
			table[ops[i]] = arg
		}
	}
	return table
}()

// scanner copies one pickle from a file without interpreting it, and refuses what
// would make an unpickler take more memory than the file can justify.
type scanner struct {
	r    *bufio.Reader
	left int64 // bytes of the file that are left
	out  bytes.Buffer

	ops, objects, memo, marks int
	frame                     int // where the last frame ends
}

// scanPickle reads one pickle from r, of whose file left bytes are left, and
// returns it. r stands behind it then.
func scanPickle(r *bufio.Reader, left int64) ([]byte, error) {
	s := &scanner{r: r, left: left}
	for {
		op, err := s.step()
		if err != nil {
			return nil, fmt.Errorf("pickle: byte %d: %w", s.out.Len(), err)
		}
		if op == '.' {
			break
		}
	}
	if s.frame > s.out.Len() {
		return nil, fmt.Errorf("pickle: a frame ends %d bytes behind its end", s.frame-s.out.Len())
	}
	return s.out.Bytes(), nil
}

// step copies one operation.
func (s *scanner) step() (byte, error) {
	b, err := s.take(1)
	if err != nil {
		return 0, err
	}
	op := b[0]
	if s.ops++; s.ops > maxOps {
		return op, fmt.Errorf("more than %d operations", maxOps)
	}
	if err := s.count(op); err != nil {
		return op, err
	}
	switch arg := opcodes[op]; arg {
	case argNone:
	case argLine:
		err = s.line()
	case argLines:
		if err = s.line(); err == nil {
			err = s.line()
		}
	case arg1, arg2, arg4, arg8:
		_, err = s.take(1 << (arg - arg1))
	case argLen1:
		err = s.counted(1)
	case argLen4:
		err = s.counted(4)
	case argLen8:
		err = s.counted(8)
	case argFrame:
		if b, err = s.take(8); err == nil {
			n := binary.LittleEndian.Uint64(b)
			if n > uint64(s.left) {
				return op, fmt.Errorf("a frame of %d bytes, and %d are left", n, s.left)
			}
			s.frame = max(s.frame, s.out.Len()+int(n))
		}
	default:
		return op, fmt.Errorf("unknown operation 0x%02x", op)
	}
	return op, err
}

// count keeps to the limits of what operations build.
func (s *scanner) count(op byte) error {
	switch op {
	case '(':
		if s.marks++; s.marks > maxDepth {
			return fmt.Errorf("nested more than %d deep", maxDepth)
		}
	case '1', 'd', 'e', 'i', 'l', 'o', 't', 'u', 0x90, 0x91:
		s.marks--
	case 'p', 'q', 'r', 0x94:
		if s.memo++; s.memo > maxMemo {
			return fmt.Errorf("it remembers more than %d objects", maxMemo)
		}
	}
	switch op {
	case '(', ')', ']', '}', 'R', 'd', 'i', 'l', 'o', 't', 0x81, 0x85, 0x86, 0x87, 0x8f, 0x91, 0x92:
		if s.objects++; s.objects > maxObjects {
			return fmt.Errorf("it builds more than %d objects", maxObjects)
		}
	}
	return nil
}

// take copies n bytes and returns them.
func (s *scanner) take(n int) ([]byte, error) {
	if int64(n) > s.left {
		return nil, fmt.Errorf("%d bytes are wanted and %d are left: the file is cut short or damaged", n, s.left)
	}
	if s.out.Len()+n > maxPickle {
		return nil, fmt.Errorf("it takes more than %d bytes", maxPickle)
	}
	at := s.out.Len()
	m, err := io.CopyN(&s.out, s.r, int64(n))
	s.left -= m
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return s.out.Bytes()[at:], err
}

// counted copies a length of size bytes and what it counts.
func (s *scanner) counted(size int) error {
	b, err := s.take(size)
	if err != nil {
		return err
	}
	var full [8]byte
	copy(full[:], b)
	n := binary.LittleEndian.Uint64(full[:])
	if n > uint64(s.left) {
		return fmt.Errorf("a text of %d bytes, and %d are left: the file is cut short or damaged", n, s.left)
	}
	if n > maxPickle {
		return fmt.Errorf("a text of %d bytes", n)
	}
	_, err = s.take(int(n))
	return err
}

func (s *scanner) line() error {
	for range maxLine {
		b, err := s.take(1)
		if err != nil {
			return err
		}
		if b[0] == '\n' {
			return nil
		}
	}
	return fmt.Errorf("a line of more than %d bytes", maxLine)
}
