"""Mail hosts with old TLS, one at each address given: ADDRESS:PORT=KIND. Prints READY, then KIND VERSION for
each mail. OpenSSL still speaks what the library of the server never will."""
import os, socket, ssl, sys, threading, warnings

warnings.simplefilter("ignore")
here = os.path.dirname(os.path.abspath(__file__))
v = ssl.TLSVersion
KINDS = {
    "rsa1024": ("r1024", v.TLSv1_2, v.TLSv1_3, "ALL"),
    "x509v1": ("v1", v.TLSv1_2, v.TLSv1_3, "ALL"),
    "x509v1-tls12": ("v1", v.TLSv1_2, v.TLSv1_2, "ALL"),
    "tls11": ("usual", v.TLSv1, v.TLSv1_1, "ALL"),
    "static-rsa": ("usual", v.TLSv1_2, v.TLSv1_2, "AES128-GCM-SHA256"),
    "dhe": ("usual", v.TLSv1_2, v.TLSv1_2, "DHE-RSA-AES128-GCM-SHA256"),
}

def context(kind):
    name, lowest, highest, ciphers = KINDS[kind]
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.set_ciphers(ciphers + ":@SECLEVEL=0")
    c.load_cert_chain(os.path.join(here, name + ".pem"), os.path.join(here, name + ".key"))
    c.minimum_version, c.maximum_version = lowest, highest
    return c

def talk(sock, kind, tls):
    stream, version, content = sock.makefile("rwb"), "clear", False
    def say(text):
        stream.write(text)
        stream.flush()
    try:
        say(b"220 mx\r\n")
        while line := stream.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if content:
                if line == b".\r\n":
                    content = False
                    print(kind, version, flush=True)
                    say(b"250 taken\r\n")
            elif verb == b"EHLO":
                say(b"250-mx\r\n250 8BITMIME\r\n" if version != "clear" else b"250-mx\r\n250 STARTTLS\r\n")
            elif verb == b"STARTTLS":
                say(b"220 go on\r\n")
                sock = tls.wrap_socket(sock, server_side=True)
                stream, version = sock.makefile("rwb"), sock.version()
            elif verb == b"DATA":
                content = True
                say(b"354 go on\r\n")
            else:
                say(b"250 good\r\n")
    except OSError:
        pass

def serve(listener, kind, tls):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=talk, args=(sock, kind, tls), daemon=True).start()

for argument in sys.argv[1:]:
    address, kind = argument.split("=")
    ip, port = address.rsplit(":", 1)
    listener = socket.create_server((ip, int(port)))
    threading.Thread(target=serve, args=(listener, kind, context(kind)), daemon=True).start()
print("READY", flush=True)
sys.stdin.read()
