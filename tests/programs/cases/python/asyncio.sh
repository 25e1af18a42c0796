#!/bin/bash
exec python3 - <<'EOF'
import asyncio, os, signal, socket, tempfile
async def server():
    async def handle(r, w):
        while line := await r.readline(): w.write(line.upper()); await w.drain()
        w.close()
    s = await asyncio.start_server(handle, "127.0.0.1", 0); port = s.sockets[0].getsockname()[1]
    async def client(i):
        r, w = await asyncio.open_connection("127.0.0.1", port); w.write(f"hello {i}\n".encode()); x = await r.readline(); w.close(); await w.wait_closed(); return x
    print((await asyncio.gather(*(client(i) for i in range(30))))[29]); s.close()
async def unix():
    path = tempfile.mktemp()
    async def handle(r, w): w.write(await r.read()); w.close()
    s = await asyncio.start_unix_server(handle, path); r, w = await asyncio.open_unix_connection(path); w.write(b"u" * 500000); w.write_eof(); print(len(await r.read())); s.close()
async def process():
    p = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1); print(await p.communicate(b"through cat")); print(p.returncode)
    p = await asyncio.create_subprocess_shell("sleep 10"); p.terminate(); print(await p.wait())
async def main():
    await server(); await unix(); await process()
    print(await asyncio.gather(*(asyncio.sleep(0.1, i) for i in range(5))))
    try: await asyncio.wait_for(asyncio.sleep(5), 0.1)
    except asyncio.TimeoutError: print("timeout")
    f = asyncio.get_running_loop().create_future(); asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, f.set_result, "signal"); os.kill(os.getpid(), signal.SIGUSR1); print(await f)
    print(await asyncio.to_thread(sum, range(100)))
    a, b = socket.socketpair(); a.setblocking(False); b.setblocking(False); l = asyncio.get_running_loop(); await l.sock_sendall(a, b"pair"); print(await l.sock_recv(b, 10))
asyncio.run(main())
EOF
