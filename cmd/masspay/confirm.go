package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// confirm asks a person to type a word before something that cannot be undone. With
// yes nobody is asked; where nobody can be, it is refused, and elsewhere says what to do.
func (a *app) confirm(yes bool, what, word, elsewhere string) error {
	if yes {
		return nil
	}
	in, ok := a.w.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) || !a.w.terminal() {
		return failf(exitConfig, elsewhere, "%s needs a confirmation, and nobody can be asked here; nothing was changed or sent", what)
	}
	_, _ = fmt.Fprintf(a.w.stderr, "type %s to confirm: ", word)
	typed, err := bufio.NewReader(in).ReadString('\n')
	if strings.TrimSpace(typed) == word {
		return nil
	}
	if err != nil {
		a.say("")
	}
	return failf(exitConfig, a.again()+" asks again", "not confirmed; nothing was changed or sent")
}
