package postgres

// process is what tells a process from all others, of its machine and others.
type process struct {
	host    string
	boot    string // of its machine; empty: not known
	space   string // its space of process numbers; empty: not known
	pid     int64
	started int64 // when, as the kernel counts; 0: not known
	gone    func(p process) bool
}

// What a process can see of another one.
const (
	processElsewhere = iota // on another machine, or in another space
	processThere
	processGone
)

// sees says what this process can see of another. Only one of the same boot and space
// whose number is free, or was given to another one since, is gone.
func (p process) sees(other process) int {
	if p.boot == "" || p.space == "" || p.boot != other.boot || p.space != other.space || other.started == 0 {
		return processElsewhere
	}
	if p.gone != nil && p.gone(other) {
		return processGone
	}
	return processThere
}
