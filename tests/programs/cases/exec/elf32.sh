#!/bin/bash
# assets: elf32
# expect: 0
# expect: Exec format error
# expect: 126
file -b /case/elf32/exit7 | grep -c 64-bit
python3 -c '
import os
try: os.execv("/case/elf32/exit7", ["exit7"])
except OSError as e: print(e.strerror)'
bash -c '/case/elf32/exit7' 2>/dev/null; echo $?
