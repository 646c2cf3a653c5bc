package export

// SetFoldBudget changes how many elements may be made while a model is decoded, for
// tests.
func SetFoldBudget(n int) (undo func()) {
	was := foldBudget
	foldBudget = n
	return func() { foldBudget = was }
}
