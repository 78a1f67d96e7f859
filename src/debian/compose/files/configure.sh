# Configures the unpacked packages of a root, as process 1's command, in that root.
#
# configure.sh base|packages PREINST… -- MANUAL…
#
# The packages are unpacked; PREINST is NAME=ARCHITECTURE of one with a preinst script, with the name that its files in
# /var/lib/dpkg/info have. The order is debootstrap's (1.0.141, second_stage_install). Further packages that dpkg has to unpack are
# in debs; MANUAL is the name of one that was requested.
set -e
place=/.hermes-compose
exec </dev/null >>$place/log 2>&1
part=$1
shift

step() {
	echo "$*" >$place/step
}

# As dpkg runs it: with the control files of the package in a directory (lib/dpkg/dpkg.h, CONTROL_DIR_CI), from which
# debconf reads the name of the package and its templates.
preinst() {
	step "preinst of $1"
	mkdir /var/lib/dpkg/tmp.ci
	cp "$place/control/$1" /var/lib/dpkg/tmp.ci/control
	for file in "/var/lib/dpkg/info/$1".*; do
		own=${file#"/var/lib/dpkg/info/$1."}
		case $own in
		# Of a package whose name begins with this one's and a dot.
		*.*) ;;
		*) cp -p "$file" "/var/lib/dpkg/tmp.ci/$own" ;;
		esac
	done
	DPKG_MAINTSCRIPT_PACKAGE=${1%%:*} DPKG_MAINTSCRIPT_ARCH=$2 DPKG_MAINTSCRIPT_NAME=preinst \
		DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= \
		/var/lib/dpkg/tmp.ci/preinst install
	rm -r /var/lib/dpkg/tmp.ci
}

configure() {
	step "configuration of $1"
	dpkg --force-depends --configure "$1"
}

core=
if [ "$part" = base ]; then
	step ldconfig
	ldconfig
	step 'the first packages'
	ln -sf mawk /usr/bin/awk
	for name in base-passwd base-files dpkg libc6 perl-base mawk; do
		[ "$name" != mawk ] || rm /usr/bin/awk
		for pair; do
			[ "$pair" != -- ] || break
			package=${pair%=*}
			if [ "${package%%:*}" = "$name" ]; then
				preinst "$package" "${pair##*=}"
				core="$core $package "
			fi
		done
		configure "$name"
		[ "$name" != dpkg ] || [ -e /etc/localtime ] || ln -sf /usr/share/zoneinfo/UTC /etc/localtime
	done
fi
while [ "$1" != -- ]; do
	package=${1%=*}
	case $core in
	*" $package "*) ;;
	*) preinst "$package" "${1##*=}" ;;
	esac
	shift
done
shift
for deb in $place/debs/*.deb; do
	[ -e "$deb" ] || break
	step 'unpacking of packages'
	dpkg --force-depends --unpack $place/debs/*.deb
	break
done
if [ "$part" = base ]; then
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
fi
step 'configuration of packages'
dpkg-trigger --no-await --by-package=libc6 ldconfig || :
dpkg --configure --pending --force-configure-any --force-depends
dpkg --configure -a
if [ "$part" = base ]; then
	rm -f /usr/sbin/policy-rc.d
	# dpkg then has the priorities of the archive's index (debootstrap, setup_available).
	step 'selection of packages'
	cat $place/available >/var/lib/dpkg/available
	dpkg --set-selections <$place/selections
fi
step 'check of the configured packages'
dpkg --audit >$place/audit
[ ! -s $place/audit ] || {
	cat $place/audit
	exit 1
}
if command -v apt-mark >/dev/null; then
	step apt-mark
	apt-mark auto '.*' >/dev/null
	[ $# -eq 0 ] || apt-mark manual "$@" >/dev/null
fi
