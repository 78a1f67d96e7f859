# Executes tests/exec.c in every way, by programs of this platform and of the host's: t-amd64, t-386, t-static, t-dynamic in
# /work. What it prints is the same for each --emulation (tests/it/emulation_modes.rs).
# Words are split on purpose, and the texts in single quotes belong to the programs that are started.
# shellcheck shell=sh disable=SC2016,SC2059,SC2086,SC2238,SC3038
export MARK=m
n=./t-amd64 s=./t-static d=./t-dynamic
try() { echo "== $*"; "$@"; echo "-> $?"; }
file() { printf "$2" >$1; chmod 755 $1; }
file script1 '#!/work/t-static args\n'
file script2 '#! /work/script1  x y \nrest'
file script3 '#!script2'
file script4 '#!/work/script3 a\n'
file script5 '#!/work/script4\n'
file script6 '#!/work/script5\n'
file native '#!/work/t-amd64 args\n'
file mixed '#!/work/native b\n'
file missing '#!/no/such\n'
file nothing '#!\n'
file plain 'echo plain $0\n'
file loop '#!loop\n'
head -c 100 t-static >cut
chmod 755 cut
cp t-static noexec
chmod 644 noexec
cp t-static mine
chmod 700 mine
ln -sf t-static link
mkdir -p dir closed
cp t-static dir/
ln -sf /work/dir/t-static dir/absolute
cp t-static closed/
chmod 0 closed

for from in $n $s $d; do
  for to in $n $s $d; do
    try $from exec $to args 1 2
    try $from vfork $to args
    try $from spawn $to args
    try $from thread $to args t
    try $from threads $to true
  done
  for to in $s $n; do
    try $from clone-vm $to args
    for mode in fexecve fexecve-cloexec memfd memfd-cloexec deleted deleted-cloexec; do try $from $mode $to args; done
    try $from nofollow $to args
    try $from no-arguments $to
    try $from no-environment $to args
    try $from state $to
    try $from signals $to
    try $from exec $to exec $n exec $to args
  done
  try $from execveat dir t-static args
  try $from execveat dir absolute args
  try $from execveat dir /work/t-static args
  try $from execveat dir ../t-static args
  try $from execveat - dir/t-static args
  try $from execveat dir nothing-here
  try $from execvp t-static args
  PATH=/no:/work/dir:$PATH try $from execvp t-static args
  PATH=/no:/work/dir:$PATH try $from spawnp t-static args
  try $from nofollow link args
  try $from empty
  for script in script1 script2 script3 script4 script5 script6 native mixed loop; do
    try $from exec ./$script 1 2
    try $from execveat dir ../$script 1
    try $from fexecve-cloexec ./$script
    try $from fexecve ./$script 1
  done
  try $from errors /no/such ./noexec ./dir ./closed/t-static ./missing ./nothing ./plain ./loop /work/t-static/x /dev/null "" ./script5 ./script6
  try $from exec ./mine args
  try $from exec ./cut
  try $from exec /proc/self/exe args
  for big in "1000 100" "20 100000" "10000 100" "2 140000" "100000 100" "300000 10"; do try $from big $big $s; done
  try $from job /bin/sleep 20
  try $from deep 6 $n $s
  try $from chain 20 $n $s
  try $from exec /bin/sh -c 'echo $0 $1' a b
  try $from exec /usr/bin/env -i /bin/sh -c 'echo $0 $MARK'
done
chmod 755 closed
rm -r closed
try ./t-386 $s args a
try ./t-386 ./script2 a
try ./t-386 $n exec ./t-386 $s args b
try ./t-386 ./noexec
try ./t-386 /no/such
try ./t-386 - $s
try ./t-386 - $n
try $n registers $s
try $n registers $n
try $s exec ./t-386 $d args
./script4 | tail -n 1
(exec -a other ./t-static args) 2>/dev/null
(sleep 0.1; exit 3) & wait $!; echo $?
sh -c 'kill -9 $$'; echo $?
perl -e 'system("./t-static", "args", "perl"); exec { "./t-static" } "renamed", "args"'
