package approve

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"masspay/payout"
)

// Approval is a statement and its signature, as they came.
type Approval struct {
	Name      string // of where it was found
	Statement []byte
	Signature []byte
}

// Verified is an approval that counts by the list of signers, whatever it is about.
type Verified struct {
	*payout.Statement
	Fingerprint string // of the key, as ssh-keygen shows it
}

// Verify makes sure that an approval was signed by the person that it names, with a key that
// counts now for what it says.
func (l Signers) Verify(a Approval, now time.Time) (Verified, error) {
	s, err := payout.ParseStatement(a.Statement)
	if err != nil {
		return Verified{}, err
	}
	sig, err := sshsig.Unarmor(a.Signature)
	if err != nil {
		return Verified{}, errors.New("its signature cannot be read")
	}
	if sig.Namespace != s.Role.Namespace() {
		return Verified{}, fmt.Errorf("it is signed for %.40q, not for %s", sig.Namespace, s.Role.Namespace())
	}
	why := ""
	for _, signer := range l.Of(s.Person) {
		if !bytes.Equal(signer.Key.Marshal(), sig.PublicKey.Marshal()) {
			continue
		}
		if why = signer.mayNow(s.Role, now); why != "" {
			break
		}
		if err := sshsig.Verify(bytes.NewReader(a.Statement), sig, signer.Key, sig.HashAlgorithm, s.Role.Namespace()); err != nil {
			return Verified{}, errors.New("its signature is not that of this text")
		}
		return Verified{s, ssh.FingerprintSHA256(signer.Key)}, nil
	}
	if why == "" {
		why = fmt.Sprintf("its key is not one of %s in the list of signers", s.Person)
	}
	return Verified{}, errors.New(why)
}

// Sign signs a statement.
func Sign(s *payout.Statement, with Key) ([]byte, error) {
	sig, err := sshsig.Sign(bytes.NewReader(s.Text()), with.signer, sshsig.HashSHA512, s.Role.Namespace())
	if err != nil {
		return nil, err
	}
	return sshsig.Armor(sig), nil
}
