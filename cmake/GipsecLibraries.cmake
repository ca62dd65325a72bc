# The two libraries: gipsec::static, which cargo makes, and gipsec::shared, which is linked from it.

find_program(GIPSEC_CARGO cargo HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin")
if(NOT GIPSEC_CARGO)
  message(FATAL_ERROR "cargo is missing: libgipsec is written in Rust; see https://rustup.rs")
endif()

set(gipsec_archive "${CMAKE_CURRENT_BINARY_DIR}/libgipsec.a")
# Beside what it was said of: cargo does not repeat it for a build that is up to date.
set(gipsec_native_libs_file "${GIPSEC_CARGO_TARGET_DIR}/native-static-libs.txt")
set(gipsec_version_script "${CMAKE_CURRENT_SOURCE_DIR}/cmake/gipsec.map")

# ---- cargo ----

if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(gipsec_cargo_profile dev)
  set(gipsec_cargo_output debug)
else()
  set(gipsec_cargo_profile release)
  set(gipsec_cargo_output release)
endif()
set(gipsec_cargo_lock "")
if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.lock")
  set(gipsec_cargo_lock --locked)
endif()

# `cargo rustc` is `cargo build` of one crate type that can also say which libraries a static link needs. It runs at
# every build: cargo alone knows whether something changed, and the copy keeps its time when nothing did.
add_custom_target(gipsec_cargo ALL
  COMMAND "${GIPSEC_CARGO}" rustc --profile "${gipsec_cargo_profile}" ${gipsec_cargo_lock}
          --package gipsec --lib --crate-type staticlib --target-dir "${GIPSEC_CARGO_TARGET_DIR}" ${GIPSEC_CARGO_ARGS}
          -- --print "native-static-libs=${gipsec_native_libs_file}"
  COMMAND "${CMAKE_COMMAND}" -E copy_if_different
          "${GIPSEC_CARGO_TARGET_DIR}/${gipsec_cargo_output}/libgipsec.a" "${gipsec_archive}"
  BYPRODUCTS "${gipsec_archive}"
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
  COMMENT "Building the static library with cargo (${gipsec_cargo_profile})"
  USES_TERMINAL VERBATIM)

# What a program needs besides libgipsec.a. The compiler driver adds libgcc_s (or, with -static, libgcc_eh) and libc by
# itself, and naming libgcc_s would make a fully static link impossible. The test native_static_libs compares this list
# with what rustc said.
set(GIPSEC_PRIVATE_LIBS -lutil -lrt -lpthread -lm -ldl)
list(JOIN GIPSEC_PRIVATE_LIBS " " GIPSEC_PRIVATE_LIBS_TEXT)

add_library(gipsec_static STATIC IMPORTED GLOBAL)
set_target_properties(gipsec_static PROPERTIES
  IMPORTED_LOCATION "${gipsec_archive}"
  INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_SOURCE_DIR}/include"
  INTERFACE_LINK_LIBRARIES "${GIPSEC_PRIVATE_LIBS}")
add_dependencies(gipsec_static gipsec_cargo)
add_library(gipsec::static ALIAS gipsec_static)

# ---- the shared library ----

# It has no source of its own; the header stands for one.
add_library(gipsec_shared SHARED include/g_ipsec_la.h)
set_target_properties(gipsec_shared PROPERTIES
  OUTPUT_NAME gipsec
  EXPORT_NAME shared
  LINKER_LANGUAGE C
  VERSION "${PROJECT_VERSION}"
  SOVERSION "${PROJECT_VERSION_MAJOR}"
  LIBRARY_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}"
  LINK_DEPENDS "${gipsec_archive};${gipsec_version_script}")
target_include_directories(gipsec_shared INTERFACE
  "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>"
  "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
target_link_options(gipsec_shared PRIVATE
  "LINKER:--whole-archive,${gipsec_archive},--no-whole-archive"
  "LINKER:--version-script,${gipsec_version_script}"
  LINKER:--gc-sections # the archive brings all of Rust's standard library
  LINKER:--no-undefined-version
  LINKER:-z,defs # a missing library is an error now and not in somebody's program
  LINKER:-z,relro,-z,now
  LINKER:-z,nodelete) # threads and thread-local destructors of the library outlive dlclose()
if(gipsec_cargo_profile STREQUAL "release" AND NOT CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  # Debug information of Rust's standard library; symbols stay, for backtraces.
  target_link_options(gipsec_shared PRIVATE LINKER:--strip-debug)
endif()
target_link_libraries(gipsec_shared PRIVATE ${GIPSEC_PRIVATE_LIBS})
add_dependencies(gipsec_shared gipsec_cargo)
add_library(gipsec::shared ALIAS gipsec_shared)
add_library(gipsec::gipsec ALIAS gipsec_shared)
