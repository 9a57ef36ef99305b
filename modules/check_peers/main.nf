process CHECK_PEERS {
    tag "${methods}"
    // What is installed is no input: asked again in every run.
    cache false

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
