#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the path of istiod-local, built by go_build.sh: minutes the first time.
exec "$(dirname "$0")/go_build.sh" istiod-local istiod -tags=vtprotobuf
