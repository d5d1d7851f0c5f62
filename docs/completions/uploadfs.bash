# bash completion for uploadfs(1). Sourced by bash-completion, or by hand.

_uploadfs_options="adopt allow_http allow_other allow_root api_key_file= api_version= bind= ca_file= cache_size= check=jsonl check=none client_cert= client_key= close=async
close=sync config= connect_timeout= dir_mode= drain_timeout= expires_after= file_mode= fsname= gid= hold_timeout=
idle_timeout= keep_old key_mode=any key_mode=private list_ttl= log_file= log_format=json log_format=text log_level=debug
log_level=error log_level=info log_level=warn metrics_listen= no_delete organization= parallel= part_size= project= proxy= proxy=none
proxy_auth_file= purpose=assistants purpose=batch purpose=evals purpose=fine-tune purpose=user_data purpose=vision
rate_limit= resend retry_delay= retry_timeout= ro rw shared_cache= staging_reserve= staging_size= state_dir= sync=always sync=auto uid=
umask="

# The mountpoints of uploadfs.
_uploadfs_mounts() {
	local path type
	while read -r _ path type _; do
		[ "$type" = fuse.uploadfs ] && printf '%b\n' "${path//\\/\\0}"
	done </proc/self/mounts
}

# The value of an option that is a path, behind what stands before it.
_uploadfs_path() {
	local kind=-f
	case $3 in shared_cache | state_dir) kind=-d ;; esac
	mapfile -t COMPREPLY < <(compgen -P "$1" $kind -- "$2")
	compopt -o filenames 2>/dev/null
}

# The last word of a list with commas: what stands before it is kept.
_uploadfs_word() {
	local before="" current=$1
	case $current in
	*,*) before=${current%,*}, ;;
	esac
	current=${current##*,}
	case $current in
	api_key_file=* | ca_file=* | client_cert=* | client_key=* | config=* | log_file=* | proxy_auth_file=* | shared_cache=* | state_dir=*)
		_uploadfs_path "$before${current%%=*}=" "${current#*=}" "${current%%=*}"
		return
		;;
	esac
	COMPREPLY=($(compgen -P "$before" -W "$_uploadfs_options" -- "$current"))
	case ${COMPREPLY[0]-} in
	*=) compopt -o nospace 2>/dev/null ;;
	esac
}

_uploadfs_of() {
	local command=$1 current=$2 words=$3
	case $current in
	-*) COMPREPLY=($(compgen -W "$words --help" -- "$current")) ;;
	*)
		case $command in
		recover)
			if [[ " ${COMP_WORDS[*]:2:COMP_CWORD-2} " =~ " "(list|publish|discard)" " ]]; then
				mapfile -t COMPREPLY < <(compgen -d -- "$current")
			else
				COMPREPLY=($(compgen -W "list publish discard" -- "$current"))
			fi
			;;
		wait | ls | fetch) COMPREPLY=($(compgen -f -- "$current")) ;;
		doctor) COMPREPLY=($(compgen -W "local: azure:https://" -- "$current") $(compgen -f -- "$current")) ;;
		*) mapfile -t COMPREPLY < <(compgen -W "$(_uploadfs_mounts)" -- "$current") ;;
		esac
		;;
	esac
}

_uploadfs() {
	local current=${COMP_WORDS[COMP_CWORD]} list
	COMPREPLY=()
	# bash takes "close=async" and "1M:2M" apart: the list is put together again, and of what is
	# offered only that is given which stands in place of bash's last word.
	if [[ ${COMP_LINE:0:COMP_POINT} =~ [[:space:]]-o[[:space:]]*([^[:space:]]*)$ ]]; then
		list=${BASH_REMATCH[1]}
		_uploadfs_word "$list"
		[[ $current == *[!=:]* ]] || current=
		[[ $list == *[=:]* ]] && COMPREPLY=("${COMPREPLY[@]#"${list%"$current"}"}")
		return
	fi
	if [ "$COMP_CWORD" -gt 1 ]; then
		case ${COMP_WORDS[1]} in
		status) _uploadfs_of status "$current" "--watch --json --check"; return ;;
		wait) _uploadfs_of wait "$current" "--timeout --processed"; return ;;
		umount) _uploadfs_of umount "$current" "--timeout --force"; return ;;
		mounts) _uploadfs_of mounts "$current" ""; return ;;
		recover) _uploadfs_of recover "$current" "--all -o"; return ;;
		doctor) _uploadfs_of doctor "$current" "-o"; return ;;
		ls) _uploadfs_of ls "$current" "-R --json --tsv"; return ;;
		prune) _uploadfs_of prune "$current" "--days --dry-run"; return ;;
		fetch) _uploadfs_of fetch "$current" "--parallel"; return ;;
		esac
	fi
	case $current in
	-*) COMPREPLY=($(compgen -W "-f -d -o -h -V --help --version" -- "$current")) ;;
	*)
		COMPREPLY=($(compgen -d -- "$current"))
		if [ "$COMP_CWORD" = 1 ]; then
			COMPREPLY+=($(compgen -W "status wait umount mounts ls fetch prune recover doctor local: azure:https://" -- "$current"))
		fi
		;;
	esac
}

complete -F _uploadfs uploadfs
