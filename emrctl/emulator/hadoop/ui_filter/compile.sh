#!/usr/bin/env bash
# Compile the filter of a Spark's pages, with the compiler that is among the JARs of Spark 3.5.
#
#   compile.sh SPARK_HOME COMPILER_HOME JAVA_HOME FOLDER
#
#   SPARK_HOME     the Spark that gets the filter
#   COMPILER_HOME  SPARK_HOME of the Spark with the compiler
#   FOLDER         the folder of the classes; it must not exist
set -euo pipefail

spark=$1 compiler=$2 java=$3 folder=$4
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here"/*.java "$work"
if compgen -G "$spark/jars/jakarta.servlet-api-[5-9]*.jar" >/dev/null; then # Spark 4
  sed -i.orig 's/javax\.servlet/jakarta.servlet/' "$work"/*.java
fi
servlets=$(compgen -G "$spark/jars/*servlet-api-*.jar" | tr '\n' :) \
  || { echo "compile.sh: error: $spark/jars has no servlet API" >&2; exit 1; }
mkdir "$work/classes"
"$java/bin/java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$compiler/jars/*" \
  org.codehaus.commons.compiler.samples.CompilerDemo \
  -classpath "$servlets" -d "$work/classes" "$work"/*.java
for class in emrctl/LocalUserFilter org/apache/hadoop/yarn/server/webproxy/amfilter/AmIpFilter; do
  [[ -s $work/classes/$class.class ]] || { echo "compile.sh: error: no class $class" >&2; exit 1; }
done
# Another process may have been faster.
[[ -d $folder ]] || mv "$work/classes" "$folder"
