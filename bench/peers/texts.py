"""The texts that bench/detect measures on: the same on every machine, from a seed and from what the lock file pins.

- chat: support chats as a chat API's bodies have them, made up here from the templates below. A value that identifies
  somebody stands in every one to two sentences; a message has 100 to 600 bytes.
- prose: paragraphs of English from the documentation of the crates that `bench/peers/Cargo.lock` pins. Paragraphs
  with an `@` are left out, because that may be somebody's address; nothing else that could be found is.
- logs: nginx, syslog, JSON and key=value lines, made up here, with addresses, versions, hashes and ids as logs have.
- code: whole source files of the same crates.

Each is written twice: as texts (a message, a paragraph or a few, a page of a log, a file), and as the JSON bodies of a chat
API that carry the same texts.
"""

import json
import random
import re
import string
import struct

# Crates about personal data hold examples of it, those about TLS hold keys, and those for Windows are tables.
LEFT_OUT = re.compile(r"redact-|rlibphonenumber|psl|rustls|ring-|webpki|windows|winapi|uuid|ulid")
FILE_BYTES = range(1 << 10, 64 << 10)

FIRST = (
    "Amelia Olivia Noah Liam Emma Lucas Sofia Mateo Priya Arjun Wei Mei Hiroshi Yuki Fatima Omar Chloe Hugo Ingrid Lars "
    "Aisha Kwame Zuri Dmitri Katarzyna Piotr Giulia Marco Carmen Diego Hannah Jonas Leila Tariq Grace Samuel Ruth Isaac "
    "Maya Ethan Nora Felix Paula Victor Alice Brian Denise Gerald Monica Terrence"
).split()
LAST = (
    "Anderson Whitaker Okafor Nakamura Schneider Rossi Fernandez Novak Kowalski Dubois Lindqvist Petrov Haddad Rahman "
    "Iyer Chaudhary Nguyen Tran Kim Park Zhao Huang Mbeki Adeyemi Thompson Baker Carver Donovan Ellsworth Finch Garrison "
    "Holloway Ibarra Jennings Kessler Lombardi McAllister Norwood Oakley Pemberton Quinlan Ramirez Sandoval Tillman "
    "Underwood Vasquez Wexler Yates Zimmerman Brandt"
).split()
DOMAINS = "gmail.com outlook.com yahoo.com icloud.com proton.me example.com brightwater.io northwind.co.uk lakeside.org".split()
STREETS = "Maple Oak Cedar Washington Lincoln Harbor Sunset Highland Park River Mill Church Spruce Walnut".split()
STREET_KINDS = "Street St Avenue Ave Road Rd Lane Drive Boulevard Court".split()
CITIES = (
    "Austin, TX 787##|Denver, CO 802##|Seattle, WA 981##|Columbus, OH 432##|Boston, MA 021##|Portland, OR 972##|"
    "Phoenix, AZ 850##|Atlanta, GA 303##|Madison, WI 537##|Raleigh, NC 276##"
).split("|")
MONTHS = "January February March April May June July August September October November December".split()
PRODUCTS = "headphones|coffee grinder|standing desk|running shoes|tablet|winter jacket|router|blender|camera|mattress".split("|")

# What is said with a value in it; {…} names a maker below.
PERSONAL = """
Hi, my name is {name} and I'm writing about order {order}.
My email address is {email}, please send the confirmation there.
You can reach me at {phone} any time after 5 pm.
I paid with my card {card}, which expires next year.
The card ending in {last4} was charged twice, the full number is {card}.
My social security number is {ssn}, in case you need to verify who I am.
SSN: {ssn}, date of birth: {dob}.
Please ship it to {address}.
We have moved, the new address is {address}.
I was born on {dob} and the account is in the name of {name}.
Could you call my husband {name} at {phone} instead?
My manager {name} ({email}) approved the purchase last week.
The refund should go to the account with IBAN {iban}.
Thanks, {name}, I can see the account registered to {email}.
To confirm, is {phone} still the best number for you?
For security, may I have the last four digits of your SSN? It is {last4}, and the full one is {ssn}.
The login came from {ip}, which is not in my city.
I tried to reset the password for {email} but nothing arrives.
My passport number is {passport}, and the booking is for {name}.
Send the invoice to {email} and a copy to {email}.
Our office is at {address}, ask for {name} at the front desk.
I'm {name}'s assistant; his direct line is {phone}.
The server that fails is {ip}, and I log in as {user}.
We still use the API key {key} for the nightly job, should we rotate it?
{name}
{email}
The driver left a note with the number {phone}, but nobody answers there.
""".strip().splitlines()

# And without one. Numbers that are nobody's are here, as they are in any chat.
PLAIN = """
I have been waiting for three weeks now and would like to know what is going on.
The tracking page says that the parcel left the warehouse on {day}, but it has not moved since.
Thank you for your patience, I am looking into this right now.
The {product} stopped working after two days, and the replacement has the same problem.
Is there anything else that I can help you with today?
I already restarted it twice and updated it to version {version}.
Order {order} contains {n} items, and the total is ${amount}.
Your ticket number is {ticket}, please keep it for your records.
It says error {n} every time that I open the settings.
Could you tell me whether the warranty covers this?
We can offer a refund of ${amount} or a new {product}, whichever you prefer.
That would be great, thank you so much for the quick answer!
The estimated delivery is between {day} and {day}.
I do not have the receipt any more, only the confirmation in my inbox.
Please note that it can take up to ten business days until the money shows in your account.
The manual says to hold the button for five seconds, which I did.
Our records show that the {product} was delivered at 2:45 pm and left at the door.
Let me transfer you to a colleague who knows more about it.
I would rather have it repaired than replaced, if that is possible at all.
Sorry about the trouble, this is certainly not the experience that we want you to have.
Can I change the colour of the {product} before it ships?
The coupon does not work, although the page says that it is valid until {day}.
The tracking number is {tracking}.
""".strip().splitlines()


class Maker:
    """Made-up values; what has check digits has the right ones."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def digits(self, pattern):
        return re.sub("#", lambda _: self.random.choice(string.digits), pattern)

    def name(self):
        return f"{self.random.choice(FIRST)} {self.random.choice(LAST)}"

    def user(self):
        return (self.random.choice(FIRST)[0] + self.random.choice(LAST)).lower()

    def email(self):
        between = self.random.choice([".", "_", ""])
        tail = self.random.choice(["", "", self.digits("##")])
        local = f"{self.random.choice(FIRST)}{between}{self.random.choice(LAST)}{tail}".lower()
        return f"{local}@{self.random.choice(DOMAINS)}"

    def phone(self):
        # Area codes and exchanges begin with 2 to 9; 212, 312 … exist.
        area = self.random.choice("212 312 415 503 617 702 206 303 404 512 614 608".split())
        form = self.random.choice(
            ["({a}) 2##-####", "{a}-3##-####", "{a}.4##.####", "+1 {a} 5##-####", "1-{a}-6##-####", "+44 20 7946 0###", "+49 30 9018####"]
        )
        return self.digits(form.replace("{a}", area))

    def card(self):
        prefix, length = self.random.choice([("4", 16), ("5" + self.random.choice("12345"), 16), ("37", 15), ("6011", 16)])
        body = prefix + self.digits("#" * (length - 1 - len(prefix)))
        total = sum(sum(divmod(int(digit) * (2 - i % 2), 10)) for i, digit in enumerate(reversed(body)))
        number = body + str(-total % 10)
        if length == 15:
            return " ".join([number[:4], number[4:10], number[10:]])
        return self.random.choice(["", " ", "-"]).join(number[i : i + 4] for i in range(0, 16, 4))

    def last4(self):
        return self.digits("####")

    def ssn(self):
        area = self.random.choice([n for n in range(1, 900) if n not in (666, 987)])
        return f"{area:03}-{self.random.randint(1, 99):02}-{self.random.randint(1, 9999):04}"

    def dob(self):
        year, month, day = self.random.randint(1945, 2005), self.random.randint(1, 12), self.random.randint(1, 28)
        return self.random.choice([f"{month:02}/{day:02}/{year}", f"{year}-{month:02}-{day:02}", f"{MONTHS[month - 1]} {day}, {year}"])

    def address(self):
        street = f"{self.random.randint(1, 9899)} {self.random.choice(STREETS)} {self.random.choice(STREET_KINDS)}"
        flat = self.random.choice(["", "", self.digits(", Apt #"), self.digits(", Suite 1##")])
        return f"{street}{flat}, {self.digits(self.random.choice(CITIES))}"

    def iban(self):
        bban = self.digits("#" * 18)
        check = 98 - int(bban + "131400") % 97
        number = f"DE{check:02}{bban}"
        return self.random.choice([number, " ".join(number[i : i + 4] for i in range(0, len(number), 4))])

    def ip(self):
        return ".".join(str(self.random.randint(1, 254)) for _ in range(4))

    def passport(self):
        return self.random.choice(["", "C", "X"]) + self.digits("########")

    def key(self):
        body = "".join(self.random.choices(string.ascii_letters + string.digits, k=48))
        return self.random.choice(["sk-proj-" + body, "AKIA" + body[:16].upper().translate(str.maketrans("0189", "ABCD"))])

    def order(self):
        return self.digits(self.random.choice(["#######", "ORD-2026-######", "114-#######-#######"]))

    def ticket(self):
        return self.digits("INC0######")

    def tracking(self):
        return self.digits("1Z999AA1012#######")

    def version(self):
        return f"{self.random.randint(1, 20)}.{self.random.randint(0, 30)}.{self.random.randint(0, 9)}"

    def n(self):
        return str(self.random.randint(2, 999))

    def amount(self):
        return f"{self.random.randint(5, 900)}.{self.random.randint(0, 99):02}"

    def day(self):
        return f"{self.random.choice(MONTHS)} {self.random.randint(1, 28)}"

    def product(self):
        return self.random.choice(PRODUCTS)

    def hexadecimal(self, length):
        return "".join(self.random.choices("0123456789abcdef", k=length))

    def uuid(self):
        return "-".join(self.hexadecimal(n) for n in (8, 4, 4, 4, 12))

    def fill(self, template):
        return re.sub(r"\{(\w+)\}", lambda slot: getattr(self, slot[1])(), template)


def body_of(messages):
    return json.dumps({"model": "gpt-4o-mini", "messages": messages, "temperature": 0.2}, ensure_ascii=False)


def chat(bytes_wanted):
    make = Maker("chat")
    texts, bodies, size = [], [], 0
    while size < bytes_wanted:
        messages = []
        for turn in range(make.random.randint(3, 9)):
            wanted = make.random.randint(100, 520)
            sentences = []
            while sum(map(len, sentences)) < wanted:
                some = PERSONAL if make.random.random() < 0.5 else PLAIN
                sentences.append(make.fill(make.random.choice(some)))
            text = " ".join(sentences)
            messages.append({"role": "assistant" if turn % 2 else "user", "content": text})
            texts.append(text)
            size += len(text)
        bodies.append(body_of(messages))
    return texts, bodies


def carried(texts):
    """A body for each text."""
    return texts, [body_of([{"role": "user", "content": text}]) for text in texts]


def shuffled(crates, endings):
    files = []
    for crate in sorted(crates, key=lambda crate: crate.name):
        if not LEFT_OUT.match(crate.name):
            files += sorted(path for path in crate.rglob("*") if path.suffix in endings and path.is_file() and path.stat().st_size in FILE_BYTES)
    random.Random("files").shuffle(files)
    return files


def read(path):
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


COMMENT = re.compile(r"^\s*//[/!] ?(.*)$")


def paragraphs(path):
    """English sentences of a document, or of a source's documentation comments."""
    lines, fenced = [], False
    for line in read(path).splitlines() + [""]:
        if path.suffix == ".rs":
            comment = COMMENT.match(line)
            line = comment[1] if comment else ""
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
            line = ""
        if not fenced and line.strip() and not line.startswith(("    ", "#", "|", "<", "[", "-", "*", "=")):
            lines.append(line.strip())
            continue
        text, lines = " ".join(lines), []
        letters = sum(c.isalpha() or c == " " for c in text)
        if len(text) >= 60 and letters >= 0.85 * len(text) and "@" not in text and text[-1] in ".!?":
            yield text


def prose(bytes_wanted, crates):
    texts, size, seen, waiting = [], 0, set(), ""
    for path in shuffled(crates, {".md", ".rs", ".txt"}):
        for text in paragraphs(path):
            # Licences and the like are in every crate.
            if text in seen:
                continue
            seen.add(text)
            waiting = f"{waiting}\n\n{text}" if waiting else text
            if len(waiting) > 600:
                texts.append(waiting)
                size += len(waiting)
                waiting = ""
        if size >= bytes_wanted:
            break
    return carried(texts)


def code(bytes_wanted, crates):
    texts, size = [], 0
    for path in shuffled(crates, {".rs", ".c", ".h", ".py", ".toml", ".js", ".sh"}):
        if text := read(path):
            texts.append(text)
            size += len(text)
        if size >= bytes_wanted:
            break
    return carried(texts)


AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.6478.126 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "curl/8.5.0",
    "kube-probe/1.29",
    "Go-http-client/2.0",
    "python-requests/2.32.3",
]
PATHS = ["/", "/healthz", "/api/v1/orders/{order}", "/static/app.{hash}.js", "/search?q=blue+shoes&page={n}", "/v1/chat/completions"]
UNITS = ["kernel", "systemd[1]", "sshd[{n}{n}]", "cron[{n}]", "kubelet[{n}]", "dockerd[{n}]", "postgres[{n}{n}]"]
SYSLOG = [
    "Started Session {n} of user root.",
    "Accepted publickey for deploy from {ip} port 5{n} ssh2: ED25519 SHA256:{base}",
    "usb 1-1: new high-speed USB device number {n} using xhci_hcd",
    "[{n}.{n}{n}] EXT4-fs (sda1): re-mounted. Opts: errors=remount-ro. Quota mode: none.",
    "Container {hash} failed liveness probe, will be restarted after {n}ms",
    "checkpoint complete: wrote {n} buffers (0.{n}%); write={n}.{n} s, sync=0.0{n} s, total={n}.{n} s; lsn=0/{hex}",
    "Out of memory: Killed process {n}{n} (java) total-vm:{n}{n}kB, anon-rss:{n}{n}kB, file-rss:0kB",
    "Pulled image registry.k8s.io/pause:3.9 in {n}.{n}ms digest sha256:{sha}",
    "eth0: Link is Up - 10Gbps/Full - flow control rx/tx, 52:54:00:{mac}",
]
EVENTS = ["request", "cache.miss", "job.done", "db.query", "retry", "message.sent"]


def logs(bytes_wanted):
    make = Maker("logs")
    pick, number = make.random.choice, make.random.randint

    def fill(template):
        def slot(match):
            match match[1]:
                case "hash":
                    return make.hexadecimal(12)
                case "sha":
                    return make.hexadecimal(64)
                case "hex":
                    return make.hexadecimal(8).upper()
                case "base":
                    return "".join(make.random.choices(string.ascii_letters + string.digits + "+/", k=43))
                case "mac":
                    return ":".join(make.hexadecimal(2) for _ in range(3))
                case name:
                    return getattr(make, name)()

        return re.sub(r"\{(\w+)\}", slot, template)

    texts, size, second = [], 0, 1_780_000_000
    while size < bytes_wanted:
        lines = []
        kind = pick(["nginx", "syslog", "json", "kv"])
        for _ in range(number(12, 40)):
            second += number(0, 9)
            day, clock = 1 + second // 86400 % 28, f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
            stamp = f"2026-06-{day:02}T{clock}.{number(0, 999999):06}Z"
            if kind == "nginx":
                lines.append(
                    f'{make.ip()} - - [{day:02}/Jun/2026:{clock} +0000] "{pick(["GET", "GET", "POST"])} {fill(pick(PATHS))} HTTP/1.1" '
                    f'{pick([200, 200, 200, 304, 404, 502])} {number(90, 99999)} "-" "{pick(AGENTS)}" rt=0.{number(0, 999):03} id={make.hexadecimal(32)}'
                )
            elif kind == "syslog":
                lines.append(f"Jun {day:2} {clock} node-{number(1, 40)} {fill(pick(UNITS))}: {fill(pick(SYSLOG))}")
            elif kind == "json":
                lines.append(
                    json.dumps(
                        {
                            "ts": pick([stamp, second * 1000 + number(0, 999)]),
                            "level": pick(["info", "info", "warn", "error", "debug"]),
                            "event": pick(EVENTS),
                            "trace_id": make.hexadecimal(32),
                            "span_id": make.hexadecimal(16),
                            "request_id": make.uuid(),
                            "duration_ms": number(1, 99999) / 100,
                            "order_id": number(10**9, 10**10 - 1),
                            "version": make.version(),
                            "commit": make.hexadecimal(40),
                            "caller": f"server/handler.go:{number(10, 900)}",
                        }
                    )
                )
            else:
                lines.append(
                    f"time={stamp} level={pick(['INFO', 'WARN', 'ERROR'])} msg=\"{pick(EVENTS)}\" shard={number(0, 63)} offset={number(10**8, 10**12)} "
                    f"lag={number(0, 5000)} bytes={number(100, 10**7)} key={make.uuid()} took={number(1, 900)}.{number(0, 999)}ms goroutine={number(1, 9999)}"
                )
        text = "\n".join(lines)
        texts.append(text)
        size += len(text)
    return carried(texts)


def write(folder, megabytes, crates):
    """All four kinds into a folder; for each, how many texts and bytes."""
    wanted = int(megabytes * 1e6)
    made = {"chat": chat(wanted), "prose": prose(wanted, crates), "logs": logs(wanted), "code": code(wanted, crates)}
    about = {}
    for kind, pair in made.items():
        for name, items in zip(("texts", "bodies"), pair):
            encoded = [item.encode() for item in items]
            with (folder / f"{kind}.{name}").open("wb") as file:
                for item in encoded:
                    file.write(struct.pack("<I", len(item)) + item)
            about.setdefault(kind, {})[name] = {"count": len(encoded), "bytes": sum(map(len, encoded))}
    return about
