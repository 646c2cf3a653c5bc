package runtime

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// What a page of a .parquet file may claim: the library allocates what the headers
// say, before it looks.
const (
	maxPageBytes  = 256 << 20
	maxPageValues = 1 << 25
	maxPageHeader = 1 << 16
)

// checkParquetFooter refuses a file whose footer would be longer than the file.
func checkParquetFooter(r io.ReaderAt, size int64) error {
	var end [8]byte
	if size < 12 {
		return fmt.Errorf("it has %d bytes: it is cut off", size)
	}
	if _, err := r.ReadAt(end[:], size-8); err != nil {
		return err
	}
	if n := int64(binary.LittleEndian.Uint32(end[:])); string(end[4:]) != "PAR1" || n > size-12 {
		return fmt.Errorf("it does not end as a .parquet file does: it is damaged or cut off")
	}
	return nil
}

// checkParquetPages walks the headers of all pages, which must lie inside the file
// and claim no more than a reader can hold.
func checkParquetPages(file *parquet.File, r io.ReaderAt, size int64) error {
	buf := make([]byte, maxPageHeader)
	for g, group := range file.Metadata().RowGroups {
		for c, column := range group.Columns {
			m := column.MetaData
			at := m.DataPageOffset
			if d := m.DictionaryPageOffset; d > 0 {
				at = min(at, d)
			}
			end := at + m.TotalCompressedSize
			if at < 4 || m.TotalCompressedSize < 0 || end < at || end > size {
				return fmt.Errorf("group %d, column %d: its pages lie at %d to %d of %d bytes", g, c, at, end, size)
			}
			for page := 0; at < end; page++ {
				n, err := r.ReadAt(buf[:min(maxPageHeader, end-at)], at)
				if n == 0 {
					return err
				}
				var h format.PageHeader
				protocol := thrift.CompactProtocol{}
				head := protocol.NewReaderFromBytes(buf[:n])
				if err := thrift.NewDecoder(head).Decode(&h); err != nil {
					return fmt.Errorf("group %d, column %d, page %d: %w", g, c, page, err)
				}
				at += int64(head.BytesRead()) + int64(h.CompressedPageSize)
				values := max(h.DataPageHeader.V.NumValues, h.DictionaryPageHeader.V.NumValues, h.DataPageHeaderV2.V.NumValues)
				if h.CompressedPageSize < 0 || at > end || h.UncompressedPageSize < 0 || h.UncompressedPageSize > maxPageBytes || values > maxPageValues {
					return fmt.Errorf("group %d, column %d, page %d claims %d values in %d bytes, %d in the file", g, c, page, values, h.UncompressedPageSize, h.CompressedPageSize)
				}
			}
		}
	}
	return nil
}
