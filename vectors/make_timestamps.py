#!/usr/bin/env python3
"""Writes the vectors of kind `timestamp` that README.md beside it describes.

The tokens are by OpenSSL, which is not ours; the refused ones are OpenSSL's
with one thing changed and, where the case is not about the signature, signed
again. Python's standard library and the `openssl` command only.

Keys, serial numbers and times are new in every run, so this is no part of
make.py: run it when a case is added, and commit what it wrote.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MESSAGE = b"log.example/anchors\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
POLICY = "1.3.6.1.4.1.32473.1.1"


# --- DER, as far as needed ----------------------------------------------------


def parse(data):
    """A list of [tag, value]; of constructed ones the value is such a list."""
    found = []
    while data:
        tag, length, start = data[0], data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        value = data[start : start + length]
        assert len(value) == length
        found.append([tag, parse(value) if tag & 0x20 else value])
        data = data[start + length :]
    return found


def write(nodes):
    out = b""
    for tag, value in nodes:
        value = write(value) if isinstance(value, list) else value
        length = len(value)
        if length < 128:
            size = bytes([length])
        else:
            size = length.to_bytes((length.bit_length() + 7) // 8, "big")
            size = bytes([0x80 | len(size)]) + size
        out += bytes([tag]) + size + value
    return out


def oid(text):
    first, second, *rest = map(int, text.split("."))
    out = bytes([first * 40 + second])
    for number in rest:
        part = [number & 0x7F]
        while number := number >> 7:
            part.insert(0, 0x80 | number & 0x7F)
        out += bytes(part)
    return out


# --- OpenSSL ------------------------------------------------------------------


def openssl(*args, data=None):
    done = subprocess.run(["openssl", *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"openssl {' '.join(args)}: {done.stderr.decode()}")
    return done.stdout


def key(name, kind):
    if kind.startswith("rsa"):
        openssl("genrsa", "-out", f"{name}.key", kind[3:])
    else:
        openssl("ecparam", "-name", kind, "-genkey", "-noout", "-out", f"{name}.key")


CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
TSA = (
    "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\n"
    "extendedKeyUsage=critical,timeStamping\n"
)


def root(name, kind, *more):
    key(name, kind)
    with open("root.cnf", "w") as f:
        f.write(f"[req]\ndistinguished_name=d\nx509_extensions=e\n[d]\n[e]\n{CA}")
    subject = f"/O=Vectors/CN={name}"
    openssl("req", "-x509", "-new", "-key", f"{name}.key", "-subj", subject, "-days", "7300", "-config", "root.cnf",
            "-out", f"{name}.pem", *more)  # fmt: skip


def issue(name, kind, issuer, extensions, *more, serial="4660", same_key=None):
    if same_key:
        shutil.copy(f"{same_key}.key", f"{name}.key")
    else:
        key(name, kind)
    with open("ext.cnf", "w") as f:
        f.write(extensions)
    subject = f"/O=Vectors/CN={same_key or name}"
    openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", "req.pem", "-config", "root.cnf")
    openssl("x509", "-req", "-in", "req.pem", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-days", "3650",
            "-set_serial", serial, "-extfile", "ext.cnf", "-out", f"{name}.pem", *more)  # fmt: skip


def stamp(tsa, chain="", digest="sha256", ess="sha256", precision=0, message=MESSAGE):
    """The answer and the nonce of the request."""
    with open("tsa.cnf", "w") as f:
        f.write(
            f"[tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_cert={tsa}.pem\nsigner_key={tsa}.key\n"
            f"signer_digest={digest}\ndefault_policy={POLICY}\ndigests=sha256\naccuracy=secs:1,millisecs:500\n"
            f"ess_cert_id_alg={ess}\nclock_precision_digits={precision}\ntsa_name=yes\nordering=yes\n"
            + (f"certs={chain}\n" if chain else "")
        )
    if not os.path.exists("serial"):
        with open("serial", "w") as f:
            f.write("0100\n")
    with open("message", "wb") as f:
        f.write(message)
    openssl("ts", "-query", "-data", "message", "-sha256", "-cert", "-out", "query")
    openssl("ts", "-reply", "-queryfile", "query", "-config", "tsa.cnf", "-section", "t", "-out", "reply")
    with open("query", "rb") as f:
        query = parse(f.read())[0][1]
    nonce = next(int.from_bytes(value, "big") for tag, value in query[1:] if tag == 0x02)
    with open("reply", "rb") as f:
        return f.read(), nonce


# --- A token taken apart --------------------------------------------------------


class Token:
    """An answer of OpenSSL's, to be changed and signed again."""

    def __init__(self, answer):
        self.answer = parse(answer)
        self.status, self.content_info = self.answer[0][1]
        self.signed = self.content_info[1][1][1][0][1]
        self.encapsulated = self.signed[2][1]
        self.info = parse(self.encapsulated[1][1][0][1])
        self.certificates = next(node for node in self.signed if node[0] == 0xA0)[1]
        self.signers = self.signed[-1][1]
        self.signer = self.signers[0][1]
        self.attributes = next(node for node in self.signer if node[0] == 0xA0)[1]

    def attribute(self, name):
        return next(node for node in self.attributes if node[1][0][1] == oid(name))

    def bytes(self):
        self.encapsulated[1][1][0][1] = write(self.info)
        return write(self.answer)

    def sign(self, name, digest="sha256"):
        """Over what it says now."""
        self.attribute("1.2.840.113549.1.9.4")[1][1][1][0][1] = hashlib.new(digest, write(self.info)).digest()
        self.attributes.sort(key=lambda node: write([node]))
        signature = openssl("dgst", f"-{digest}", "-sign", f"{name}.key", data=write([[0x31, self.attributes]]))
        next(node for node in self.signer[::-1] if node[0] == 0x04)[1] = signature
        return self

    def with_certificate(self, name):
        """Another certificate of the same name, number and key."""
        der = openssl("x509", "-in", f"{name}.pem", "-outform", "DER")
        self.certificates[:] = parse(der)
        ess = self.attribute("1.2.840.113549.1.9.16.2.47")[1][1][1][0][1][0][1][0][1]
        next(node for node in ess if node[0] == 0x04)[1] = hashlib.sha256(der).digest()
        return self


# --- The cases ------------------------------------------------------------------


def case(name, why, token, nonce, root, reason=None, time=None, message=MESSAGE, policy=None):
    with open(f"{root}.pem") as f:
        roots = f.read()
    members = {"expect": "refuse" if reason else "accept", "why": why}
    if reason:
        members["reason"] = reason
    members |= {"token": token.hex(), "message": message.hex(), "nonce": str(nonce), "roots": roots}
    if policy:
        members["policy"] = policy
    if not reason:
        info = Token(token if token[4] == 0x30 and parse(token)[0][1][0][0] == 0x30 else wrap(token)).info[0][1]
        members["time"] = next(value for tag, value in info if tag == 0x18).decode()
    with open(os.path.join(HERE, "timestamp", f"{name}.json"), "w") as f:
        json.dump(members, f, indent=1)
        f.write("\n")


def wrap(token):
    return write([[0x30, [[0x30, [[0x02, b"\0"]]], *parse(token)]]])


def cases():
    root("root", "prime256v1")
    root("stranger", "prime256v1")
    root("rsaroot", "rsa2048", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32")
    issue("ec", "prime256v1", "root", TSA)
    issue("p384", "secp384r1", "root", TSA)
    issue("p521", "secp521r1", "root", TSA)
    issue("rsa", "rsa2048", "root", TSA)
    issue("pss", "rsa3072", "rsaroot", TSA, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32")
    issue("middle", "secp384r1", "root", CA)
    issue("deep", "prime256v1", "middle", TSA)
    issue("lenient", "", "root", TSA.replace("critical,timeStamping", "timeStamping"), same_key="rsa")
    issue("both", "", "root", TSA.replace("timeStamping", "timeStamping,codeSigning"), same_key="rsa")
    issue("none", "", "root", TSA.replace("extendedKeyUsage=critical,timeStamping\n", ""), same_key="rsa")
    issue("mute", "", "root", TSA.replace("digitalSignature", "keyEncipherment"), same_key="rsa")

    for name, why, tsa, options in [
        ("ec", "ECDSA P-256", "ec", {}),
        ("p384", "ECDSA P-384 with SHA-384", "p384", {"digest": "sha384"}),
        ("p521", "ECDSA P-521 with SHA-512", "p521", {"digest": "sha512"}),
        ("rsa", "RSA PKCS#1 v1.5", "rsa", {}),
        ("rsa-sha512", "RSA with SHA-512, its certificate named by SHA-1", "rsa", {"digest": "sha512", "ess": "sha1"}),
        ("fraction", "the time has a fraction", "ec", {"precision": 6}),
    ]:
        answer, nonce = stamp(tsa, **options)
        case(name, why, answer, nonce, "root")
    answer, nonce = stamp("pss")
    case("pss-chain", "certificates signed with RSA-PSS", answer, nonce, "rsaroot")
    answer, nonce = stamp("ec")
    case("bare", "a token without the status around it", write([Token(answer).content_info]), nonce, "root")
    answer, nonce = stamp("deep", chain="middle.pem")
    case("intermediate", "an authority between, whose certificate is in the token", answer, nonce, "root")
    token = Token(answer)
    unsorted = sorted(token.certificates, key=lambda node: write([node]), reverse=True)
    token.certificates[:] = unsorted
    case("unsorted", "the certificates are not in DER's order", token.bytes(), nonce, "root")
    token.certificates[:] = [node for node in unsorted if oid("1.3.6.1.5.5.7.3.8") in write([node])]
    case("no-intermediate", "the authority between is missing", token.bytes(), nonce, "root", "issuer is not known")
    case("policy", "the policy that was demanded", *stamp("ec"), "root", policy=POLICY)
    case("other-policy", "another policy than demanded", *stamp("ec"), "root", "another policy", policy=POLICY + ".1")

    answer, nonce = stamp("rsa")
    case("other-root", "the root of somebody else", answer, nonce, "stranger", "issuer is not known")
    case("other-message", "the message of another token", answer, nonce, "root", "other bytes", message=MESSAGE + b"\n")
    case("other-nonce", "an answer to another request", answer, nonce + 1, "root", "nonce")
    case("cut", "the last byte is missing", answer[:-1], nonce, "root", "malformed")
    case("trailing", "a byte behind the answer", answer + b"\0", nonce, "root", "malformed")
    case("empty", "no bytes", b"", nonce, "root", "malformed")
    case("garbage", "a sequence of one number", bytes.fromhex("3003020100"), nonce, "root", "malformed")
    case("rejection", "the authority does not like the algorithm", bytes.fromhex("3009300702010203020780"), nonce, "root",
         "status 2, badAlg")  # fmt: skip
    flipped = answer[:-1] + bytes([answer[-1] ^ 1])
    case("signature", "a bit of the signature is changed", flipped, nonce, "root", "signature is wrong")

    def changed(name, why, reason, change, resign=True, by="rsa"):
        token = Token(answer)
        change(token)
        if resign:
            token.sign(by)
        case(name, why, token.bytes(), nonce, "root", reason)

    def info(tag, value):
        def change(token):
            next(node for node in token.info[0][1] if node[0] == tag)[1] = value

        return change

    case("signed-again", "signed again as it was, so that the cases below are about what they say",
         Token(answer).sign("rsa").bytes(), nonce, "root")  # fmt: skip
    changed("time-unsigned", "another time, under the old signature", "signature is wrong", info(0x18, b"20200101000000Z"), False)
    changed("before-certificate", "a time before the certificate", "not valid at", info(0x18, b"20200101000000Z"))
    changed("after-certificate", "a time after the certificate", "not valid at", info(0x18, b"20451231235959Z"))
    changed("local-time", "a time that is not in UTC", "malformed", info(0x18, b"20260101000000+0100"))
    changed("no-nonce", "an answer without the nonce", "nonce", lambda t: t.info[0][1].remove(next(n for n in t.info[0][1][4:] if n[0] == 0x02)))
    changed("version", "a version that does not exist", "malformed", info(0x02, b"\2"))
    extension = [0xA1, [[0x30, [[0x06, oid("1.3.6.1.4.1.32473.9")], [0x01, b"\xff"], [0x04, b"\5\0"]]]]]
    changed("critical-extension", "a critical extension", "critical extension", lambda t: t.info[0][1].append(extension))
    changed("imprint-sha1", "about a SHA-1", "not supported",
            lambda t: t.info[0][1].__setitem__(2, [0x30, [[0x30, [[0x06, oid("1.3.14.3.2.26")]]], [0x04, b"\0" * 20]]]))  # fmt: skip
    changed("lenient-usage", "the key purpose is not critical", "timestamps alone", lambda t: t.with_certificate("lenient"))
    changed("two-usages", "the certificate also signs code", "timestamps alone", lambda t: t.with_certificate("both"))
    changed("no-usage", "the certificate is for anything", "timestamps alone", lambda t: t.with_certificate("none"))
    changed("key-usage", "the key may not sign", "timestamps alone", lambda t: t.with_certificate("mute"))

    def swapped(token):
        token.certificates[:] = parse(openssl("x509", "-in", "lenient.pem", "-outform", "DER"))

    changed("swapped-certificate", "a certificate that the signature does not name", "commit", swapped)
    changed("no-certificate", "the certificates are missing", "lacks", lambda t: t.certificates.clear())
    changed("no-certificate-id", "no attribute names the certificate", "commit",
            lambda t: t.attributes.remove(t.attribute("1.2.840.113549.1.9.16.2.47")))  # fmt: skip
    changed("two-digests", "an attribute that is there twice", "malformed",
            lambda t: t.attributes.append(t.attribute("1.2.840.113549.1.9.4")))  # fmt: skip
    changed("content-type", "what is signed says that it is something else", "signature is wrong",
            lambda t: t.attribute("1.2.840.113549.1.9.3")[1][1][1][0].__setitem__(1, oid("1.2.840.113549.1.7.1")))  # fmt: skip
    changed("two-signers", "two signatures", "malformed", lambda t: t.signers.append(t.signers[0]))
    changed("other-key", "signed with another key", "signature is wrong", lambda t: None, by="other")


if __name__ == "__main__":
    shutil.rmtree(os.path.join(HERE, "timestamp"), ignore_errors=True)
    os.makedirs(os.path.join(HERE, "timestamp"))
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        key("other", "rsa2048")
        cases()
