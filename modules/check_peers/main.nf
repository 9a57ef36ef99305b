process CHECK_PEERS {
    tag "${methods}"

    input:
    val methods
    val code

    output:
    path 'missing.txt'

    script:
    """
    check_peers.py --methods ${methods} --output missing.txt
    """

    stub:
    """
    touch missing.txt
    """
}
