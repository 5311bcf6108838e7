package org.apache.hadoop.yarn.server.webproxy.amfilter;

/**
 * Replaces the filter that YARN adds to the pages of drivers, in cluster mode in place of others:
 * that one serves every request from 127.0.0.1 and believes the user name in its cookie.
 */
public class AmIpFilter extends emrctl.LocalUserFilter { }
