#!/bin/sh
# Each header alone, both in either order, each twice: without a warning.   headers.sh COMPILER STANDARD INCLUDE
set -eu
compiler=$1 standard=$2 include=$3
case $standard in
    c++*) language=c++ ;;
    *) language=c ;;
esac
status=0
for headers in 'g_ipsec_la.h' 'g_ipsec_la_ext.h' 'g_ipsec_la.h g_ipsec_la_ext.h' 'g_ipsec_la_ext.h g_ipsec_la.h'; do
    for header in $headers $headers; do echo "#include <$header>"; done |
        "$compiler" -x $language "-std=$standard" -Wall -Wextra -pedantic -Werror -fsyntax-only -I"$include" - ||
        { echo "$headers does not compile as $standard" >&2; status=1; }
done
exit $status
