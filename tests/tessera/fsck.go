// Runs Tessera's fsck on a log. (Its own command needs a library for terminals that Debian does not have.)
//
//	fsck URL VKEY-FILE
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
)

func leaves(bundle []byte) ([][]byte, error) {
	eb := &api.EntryBundle{}
	if err := eb.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var r [][]byte
	for _, e := range eb.Entries {
		r = append(r, rfc6962.DefaultHasher.HashLeaf(e))
	}
	return r, nil
}

func main() {
	u, err := url.Parse(os.Args[1])
	if err != nil {
		panic(err)
	}
	src, err := client.NewHTTPFetcher(u, nil)
	if err != nil {
		panic(err)
	}
	b, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	v, err := f_note.NewVerifier(strings.SplitN(string(b), "\n", 2)[0])
	if err != nil {
		panic(err)
	}
	f := fsck.New(v.Name(), v, src, leaves, fsck.Opts{N: 2})
	if err := f.Check(context.Background()); err != nil {
		fmt.Printf("fsck failed: %.100s\n", err.Error())
		os.Exit(1)
	}
	fmt.Println("fsck ok")
}
